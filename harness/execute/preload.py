"""Imported once by the fork server, so that each cell's process starts with everything loaded.

Nothing here may start a thread of torch's or touch a GPU: neither survives a fork.
"""

import contextlib
import gc
import importlib

from harness import environment, registry

with contextlib.suppress(Exception):
    importlib.import_module("harness.measure.cell")
    registry.discover()

environment.source_commit()
gc.collect()
gc.freeze()
