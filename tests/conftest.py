"""What every test can rely on: no network, one thread per process, Ctrl-C, property tests that repeat."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from harness.collector import freeze

ROOT = Path(__file__).parents[1]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background of a shell script, this would ignore Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("harness", deadline=None, derandomize=True, max_examples=30, print_blob=True)
settings.load_profile("harness")


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    """A plugin's folder is searched for modules only while its test runs, and those of a temporary folder are
    forgotten: another test may write a plugin of the same name."""
    before = list(sys.path)
    yield
    added = {Path(place) for place in sys.path if place not in before} - {*map(Path, before)}
    sys.path[:] = before
    for name, module in list(sys.modules.items()) if added else ():
        file = getattr(module, "__file__", None)
        if file and Path(file).parent in added and not Path(file).is_relative_to(ROOT):
            del sys.modules[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU or LaTeX where there is none."""
    if shutil.which("pdflatex") is None:
        for item in items:
            if item.get_closest_marker("latex") is not None:
                item.add_marker(pytest.mark.skip(reason="needs pdflatex"))
    marked = [item for item in items if item.get_closest_marker("gpu") is not None]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Exempt what is imported by now from garbage collection, which every counted cell asks for."""
    freeze()
