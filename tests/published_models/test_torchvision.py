"""A torchvision that cannot be imported is named before ``transformers`` stumbles over it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.published_models.torchvision import check_torchvision


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a package of that name; returns the package's file."""
    package = tmp_path / "torchvision"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    return package / "__init__.py"


def test_one_that_is_broken_is_named_in_one_line(installed: Path) -> None:
    installed.write_text("raise RuntimeError('operator torchvision::nms does not\\nexist')")
    with pytest.raises(InfrastructureError, match=r"nms does not exist.*pip uninstall torchvision") as caught:
        check_torchvision()
    assert "\n" not in str(caught.value)


def test_one_that_works_is_left_alone(installed: Path) -> None:
    installed.write_text("")
    check_torchvision()


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_none_is_fine() -> None:
    check_torchvision()
