"""A small world for the command line: fake methods, tasks, weights and measuring; a real executor."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

import pytest
from typer.testing import CliRunner, Result

import harness
from harness import execute, registry
from harness.cli import app
from harness.execute.process import start_server
from harness.execute.run import run_eval
from harness.registry import BrokenPlugin, Registry
from tests.execute import cells, fakes


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyConfig:
    gists: int = 2
    rate: float = 0.5
    order: Literal["up", "down"] = "up"
    layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoConfig:
    pass


@dataclass
class World:
    """What the tests change: the weights that exist, the plugins that broke, the measuring function."""

    folder: Path
    trained: dict[tuple[str, int, int], Path]
    broken: list[BrokenPlugin]
    fake: str = "good"

    def run(self, *arguments: object) -> Result:
        """The command line in this process; results go below the test's own folder."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def eval(self, *arguments: object) -> Result:
        return self.run("eval", "--task", "counting", "--out", self.folder / "run", *arguments)


def _method(name: str, config: type) -> SimpleNamespace:
    from harness.fusion import MemoryOrder

    memory = MemoryOrder(prefill_frames=1, prefill_pixels=2, streaming_frames=0, streaming_pixels=1)
    summary = f"toy [red]{name}[/red]\n\x1bover"
    return SimpleNamespace(name=name, Config=config, summary=summary, paper="none", memory=memory)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, {}, [])
    made.trained = {(name, 2, 0): tmp_path / name for name in ("toy", "other")}
    fill(monkeypatch, "methods", {"toy": _method("toy", ToyConfig), "other": _method("other", NoConfig)})
    task = SimpleNamespace(
        Config=NoConfig, version=3, summary="counts", licence="MIT", source="made here", kinds={}
    )
    fill(monkeypatch, "tasks", {"counting": task})
    fill(monkeypatch, "backbones", {"tiny-qwen3": SimpleNamespace(summary="tiny", encoder=None)})
    monkeypatch.setattr(registry, "discover", discovery(made))
    fake_models = models(made)
    monkeypatch.setitem(sys.modules, "harness.models", fake_models)
    # The package keeps the real module as an attribute once anything has imported it.
    monkeypatch.setattr(harness, "models", fake_models, raising=False)
    monkeypatch.setitem(sys.modules, "harness.report.build", report())
    start_server(cells.PRELOAD)

    def evaluate(*arguments: Any) -> Any:
        name = f"{fakes.__name__}:{made.fake}"
        return functools.partial(run_eval, measure=name, preload=cells.PRELOAD)(*arguments)

    monkeypatch.setattr(execute, "run_eval", evaluate)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return made


def fill(monkeypatch: pytest.MonkeyPatch, name: str, items: Mapping[str, object]) -> None:
    known: Registry[object] = Registry(name.removesuffix("s"))
    for key, item in items.items():
        known.add(key, item, "here")
    monkeypatch.setattr(registry, name, known)


def discovery(world: World) -> Callable[[Iterable[Path]], list[BrokenPlugin]]:
    def discover(plugin_files: Iterable[Path] = ()) -> list[BrokenPlugin]:
        return world.broken

    return discover


def models(world: World) -> ModuleType:
    def find_weights(
        method: str, config: Mapping[str, Any], backbone: str, seed: int, search: Sequence[Path]
    ) -> Path | None:
        return world.trained.get((method, config.get("gists", 2), seed))

    module = ModuleType("harness.models")
    vars(module).update(
        find_weights=find_weights, weights_digest=lambda path: "0123456789abcdef", SHIPPED=world.folder
    )
    return module


def report() -> ModuleType:
    def build_report(run_dir: Path, out: Path | None) -> Path:
        path = (out or run_dir) / "report.md"
        path.write_text("report")
        return path

    module = ModuleType("harness.report.build")
    vars(module).update(build_report=build_report)
    return module
