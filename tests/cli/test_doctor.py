"""``harness doctor``: each thing that is wrong is named with what mends it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from types import SimpleNamespace

import huggingface_hub
import pytest
from typer.testing import CliRunner

from harness import doctor
from harness.cli import app
from harness.doctor import Finding, examine


def found(name: str) -> Finding:
    (finding,) = (one for one in examine(hub=False) if one.name == name)
    return finding


def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    """Have some distributions be of another version, or not be there (None)."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        given = changed.get(name.replace("-", "_"), real)
        if given is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return given if isinstance(given, str) else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_what_the_harness_needs_is_well_here() -> None:
    status = {finding.name: finding.status for finding in examine(hub=False)}
    assert status["python"] == status["packages"] == status["torch"] == status["video"] == "ok"


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, plotly=None, datasets="1.0")
    finding = found("packages")
    assert finding.status == "failed"
    assert "plotly is not installed" in finding.detail
    assert "datasets 1.0 is not >=4" in finding.detail
    assert finding.fix == "pip install -c constraints.txt -e ."


def test_a_torchvision_of_another_torch_is_to_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, torchvision="0.1")
    monkeypatch.setattr(doctor, "_import_error", lambda name: "RuntimeError: no operator nms")
    finding = found("torchvision")
    assert (finding.status, finding.fix) == ("failed", "pip uninstall -y torchvision timm")


@pytest.mark.parametrize(("version", "status"), [(None, "missing"), ("0.1", "failed"), ("0.7.3", "ok")])
def test_lmms_eval_is_there_in_its_version(
    monkeypatch: pytest.MonkeyPatch, version: str | None, status: str
) -> None:
    versions(monkeypatch, lmms_eval=version)
    finding = found("lmms-eval")
    assert finding.status == status
    assert (finding.fix is None) == (status == "ok")


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**29))
    finding = found("disk")
    assert (finding.status, finding.detail) == ("failed", "0 GiB free for caches")


def test_a_hub_that_is_out_of_reach_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(url: str, timeout: float) -> None:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(get=get))
    (finding,) = (one for one in examine() if one.name == "hub")
    assert finding.status == "missing"
    assert "no route" in finding.detail


def _raises() -> Finding:
    raise ValueError("planted")


@pytest.mark.parametrize(("check", "code"), [(doctor._python, 0), (_raises, 4)])
def test_the_command_ends_with_what_it_found(
    monkeypatch: pytest.MonkeyPatch, check: Callable[[], Finding], code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda hub: [doctor._guarded(check)])
    text = CliRunner().invoke(app, ["doctor"])
    assert text.exit_code == code
    assert ("FAILED" in text.output) == bool(code)
    (entry,) = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert entry["status"] == ("failed" if code else "ok")
