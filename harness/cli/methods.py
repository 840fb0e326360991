"""What ``harness list methods`` says of a method: memory in words, parameters, trained models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.errors import first_line
from harness.errors import UsageError
from harness.spec import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from harness.fusion import FusionMethod, MemoryOrder
    from harness.modelfiles import ModelConfig

_GROWTH = ("constant", "linear", "quadratic")


def describe_method(method: type[FusionMethod], trained: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Declared memory, parameters added and trained models, as JSON values."""
    return {
        "memory": {"declared": asdict(method.memory), **memory_in_words(method.memory)},
        "parameters": _parameters(method),
        "trained": [_without(entry, "method") for entry in trained if entry["method"] == method.name],
    }


def memory_in_words(memory: MemoryOrder) -> dict[str, str]:
    """How peak memory grows at fixed text, for prefill and for streaming."""

    def words(frames: int, pixels: int) -> str:
        return f"{_GROWTH[frames]} in frames, {_GROWTH[pixels]} in pixels"

    return {
        "prefill": words(memory.prefill_frames, memory.prefill_pixels),
        "streaming": words(memory.streaming_frames, memory.streaming_pixels),
    }


def _parameters(method: type[FusionMethod]) -> dict[str, Any]:
    """What the method adds to the default backbone at the same FFN width, or why that cannot be counted."""
    from harness.cli.shapes import parameters_added

    try:
        added, own = parameters_added(method, DEFAULT_BACKBONE)
    except Exception as error:  # One method's fault must not hide the others.
        return {"backbone": DEFAULT_BACKBONE, "error": f"{type(error).__name__}: {first_line(error)}"}
    return {"backbone": DEFAULT_BACKBONE, "added": added, "share": added / own}


def trained_models(search: Sequence[Path]) -> list[dict[str, Any]]:
    """Models below the given folders and the shipped ones; one entry for all seeds."""
    from harness.models import SHIPPED

    found: dict[str, dict[str, Any]] = {}
    for root in (*search, SHIPPED):
        if not root.is_dir():
            raise UsageError(f"models folder {str(root)!r} does not exist; give the --out of `harness train`")
        for path in sorted(root.rglob("config.json")):
            entry = _entry(path.parent, "shipped" if root == SHIPPED else str(root))
            if entry is not None:
                seed = entry.pop("seed")
                seeds = found.setdefault(repr(entry), {**entry, "seeds": []})["seeds"]
                seeds.extend({seed} - set(seeds))
    return [{**entry, "seeds": sorted(entry["seeds"])} for entry in found.values()]


def _entry(folder: Path, where: str) -> dict[str, Any] | None:
    """What the folder of a trained model says; None for any other folder."""
    from harness import registry
    from harness.modelfiles import WEIGHTS, read_config

    try:
        config = read_config(folder)
    except UsageError:
        return None
    if config.max_frames is None or not (folder / WEIGHTS).is_file():
        return None
    kinds = {name: list(registry.tasks.get(name).kinds) for name in config.tasks if name in registry.tasks}
    return {
        "method": config.method,
        "settings": _settings(config),
        "backbone": config.backbone,
        "tasks": {name: kinds.get(name, []) for name in config.tasks},
        "max_frames": config.max_frames,
        "where": where,
        "seed": config.seed,
    }


def _settings(config: ModelConfig) -> dict[str, Any]:
    """The settings that differ from the method's defaults."""
    from harness.models import method_config
    from harness.settings import changed

    try:
        return changed(method_config(config.method, config.method_config))
    except UsageError:
        return config.method_config


def _without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


def method_lines(entry: dict[str, Any]) -> list[str]:
    """The same for people, one fact a line."""
    memory, parameters = entry["memory"], entry["parameters"]
    lines = [f"paper: {entry['paper']}"]
    lines += [f"{phase}: {memory[phase]}" for phase in ("prefill", "streaming")]
    if "error" in parameters:
        lines.append(f"parameters: not counted, {parameters['error']}")
    else:
        share, added = parameters["share"], parameters["added"]
        lines.append(f"parameters: +{share:.1%} of {parameters['backbone']}'s ({added:,})")
    lines += [_trained_line(model) for model in entry["trained"]] or ["trained: none"]
    return lines


def _trained_line(model: dict[str, Any]) -> str:
    settings = "".join(f" {name}={value}" for name, value in model["settings"].items())
    tasks = "; ".join(
        f"{task} ({', '.join(kinds)})" if kinds else task for task, kinds in model["tasks"].items()
    )
    seeds = ", ".join(map(str, model["seeds"]))
    return f"trained ({model['where']},{settings} {model['backbone']}, seeds {seeds}): {tasks}"
