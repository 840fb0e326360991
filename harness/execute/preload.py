"""Imported once by the fork server, so that each cell's process starts with everything loaded.

Nothing here may start a thread of torch's or touch a GPU: neither survives a fork.
"""

import contextlib
import importlib
import os

from harness import environment, registry
from harness.collector import freeze
from harness.execute.process import WARM
from harness.spec import DEFAULT_BACKBONE


def load() -> None:
    """Import what measuring a cell needs."""
    importlib.import_module("harness.measure.cell")
    registry.discover()
    import torch

    from harness.backbones.decoder import Decoder

    # Building the default backbone imports its classes from transformers, the slowest import of all.
    backbone = registry.backbones.get(DEFAULT_BACKBONE)
    with torch.device("meta"):
        Decoder(backbone.config(backbone.intermediate_size, 64))
    for family in os.environ.pop(WARM, "").split(","):
        if family:
            registry.tasks.warm(family)


# Whatever is wrong here is met again, and reported, in the processes that need it.
with contextlib.suppress(Exception):
    load()
environment.source_commit()
freeze()
