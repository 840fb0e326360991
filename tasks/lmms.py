"""The family ``lmms:NAME``: tasks of an installed lmms-eval (:mod:`harness.lmms`)."""

from __future__ import annotations

from harness.lmms.task import LmmsFamily
from harness.registry import tasks

tasks.add_family("lmms", LmmsFamily(), __name__)
