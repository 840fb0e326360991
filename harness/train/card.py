"""A model card made from the training log."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from harness import registry
from harness.models import ModelConfig, method_config
from harness.settings import changed
from harness.spec import DEFAULT_BACKBONE, MethodSpec


def write_card(folder: Path, config: ModelConfig, log: dict[str, Any]) -> None:
    """Write ``README.md`` beside the weights: data, steps, seed, curve, time, command."""
    (folder / "README.md").write_text(card(config, log))


def card(config: ModelConfig, log: dict[str, Any]) -> str:
    """The card's Markdown."""
    identity = log["identity"]
    method = MethodSpec(config.method, changed(method_config(config.method, config.method_config)))
    tasks = " ".join(f"--task {name}" for name in config.tasks)
    backbone = "" if config.backbone == DEFAULT_BACKBONE else f"--backbone {config.backbone} "
    plugins = "".join(f"--plugin {shlex.quote(file)} " for file in _plugins(config))
    command = (
        f"harness train --method {method} {tasks} {plugins}{backbone}--steps {identity['steps']} "
        f"--seed {config.seed} --out models"
    )
    recipe = identity["recipe"]
    rows = [
        ("method", f"`{method}`"),
        ("backbone", f"`{config.backbone}`, FFN width {config.intermediate_size}"),
        ("trained parameters", f"{log['parameters']:,}"),
        ("vision encoder", f"shared and frozen, `{config.encoder_digest}`"),
        ("data", ", ".join(identity["tasks"]) + " (training split, drawn afresh every step)"),
        ("steps", f"{identity['steps']} of {recipe['batch']} clips"),
        ("frames", ", ".join(map(str, recipe["frames"]))),
        ("pixels", ", ".join(map(str, recipe["sizes"]))),
        ("seed", str(config.seed)),
        ("time", f"{log['cpu_seconds']:.0f} CPU-seconds, {log['threads']} thread(s), torch {log['torch']}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"# {config.method}, seed {config.seed}\n\n"
        "A small reference model for comparing fusion methods; not for any other use.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        f"Made by\n\n```\n{command}\n```\n\n"
        f"## Curve\n\n{_curve(log['curve'])}\n"
    )


def _plugins(config: ModelConfig) -> list[str]:
    """The files that brought the method and the tasks."""
    files = [registry.methods.plugin(config.method), *map(registry.tasks.plugin, config.tasks)]
    return list(dict.fromkeys(file for file in files if file is not None))


def _curve(points: list[dict[str, Any]]) -> str:
    """Accuracy by kind on fresh training clips of the first task at 8 frames of 64 x 64 pixels."""
    if not points:
        return "No points were recorded."
    names = list(points[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for point in points:
        cells = [
            "-" if point.get(name) is None else (f"{point[name]:.2f}" if name != "step" else str(point[name]))
            for name in names
        ]
        lines.append("| " + " | ".join(cells) + " |")
    caption = "Accuracy by kind on fresh training clips of the first task, 8 frames of 64 x 64 pixels.\n\n"
    return caption + "\n".join(lines)
