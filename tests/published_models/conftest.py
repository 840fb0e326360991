"""Checkpoints on disk, models read from them, and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.stream import Frame
from tests.published_models.checkpoints import RECIPES, write_published

SIZE = (56, 64)
"""Height and width of frames."""


@pytest.fixture(params=RECIPES)
def kind(request: pytest.FixtureRequest) -> str:
    """Every supported class in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code of checkpoints is copied to a folder of these tests: one for all, since Python finds the package
    of such copies once. It finds a copy by the checkpoint's folder name, which must differ."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("own_code")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(place))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a class's tiny checkpoint."""
    root = tmp_path_factory.mktemp("published")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            write_published(kind, root / kind)
        return root / kind

    return folder


@pytest.fixture(scope="session")
def model(checkpoint: Callable[[str], Path]) -> Callable[[str], PublishedModel]:
    """A class's model in float64."""
    known: dict[str, PublishedModel] = {}

    def load(kind: str) -> PublishedModel:
        if kind not in known:
            known[kind] = load_published(checkpoint(kind), "tiny", dtype=torch.float64)
        return known[kind]

    return load


@pytest.fixture(scope="session")
def frames() -> tuple[Frame, ...]:
    """Three frames at the same time: several images, without time stamps."""
    rng = np.random.default_rng(0)
    return tuple(Frame(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), 0.0) for _ in range(3))
