"""``harness train``: train a reference model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded, one_line, say, warn_broken
from harness.errors import UsageError
from harness.spec import DEFAULT_BACKBONE, MethodSpec, TaskSpec, TrainSpec


def train_command(
    method: Annotated[str, typer.Option(help="Method, as NAME or NAME:FIELD=VALUE+FIELD=VALUE.")],
    out: Annotated[Path, typer.Option(help="Folder for the model; pass it to `harness eval --models`.")],
    task: Annotated[list[str] | None, typer.Option(help="Task to train on; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; the recipe's own by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights and the data order.")] = 0,
    backbone: Annotated[
        str,
        typer.Option(
            help="Registered backbone; or a folder to start from: a decoder's checkpoint or a grafted model."
        ),
    ] = DEFAULT_BACKBONE,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 100,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in the folder.")] = True,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file that registers more.")] = None,
    debug: Debug = False,
) -> None:
    """Train a reference model: same data order and budget for all methods, nothing but the fusion differs."""
    with guarded(debug, "stopped: run the same command again to go on from the last checkpoint"):
        chosen, names = MethodSpec.parse(method), _task_names(task or [])
        spec = TrainSpec(
            method=chosen.name,
            method_config=chosen.config,
            backbone=backbone,
            tasks=names or TrainSpec.tasks,
            steps=steps,
            seed=seed,
            out=out,
            threads=threads,
            checkpoint_every=checkpoint_every,
            resume=resume,
        )
        spec = _resolve(spec, plugin or [], debug)
        from harness.train.run import train

        typer.echo(f"model: {train(spec, lambda text: say(one_line(text)))}")


def _task_names(texts: list[str]) -> tuple[str, ...]:
    tasks = TaskSpec.parse_list(texts)
    for task in tasks:
        if task.config:
            raise UsageError(f"task {str(task)!r} has settings; training takes tasks by name only")
    return tuple(task.name for task in tasks)


def _resolve(spec: TrainSpec, plugins: list[Path], debug: bool) -> TrainSpec:
    """Check every name; keep the settings that differ from the method's defaults, with their types."""
    import dataclasses

    from harness import registry
    from harness.lookup import lookup, lookup_backbone
    from harness.settings import build_config, changed

    broken = registry.require(plugins)
    warn_broken(broken, debug)
    method = lookup(registry.methods, spec.method, broken)
    config = build_config(method.Config, spec.method_config, f"method {spec.method!r}")
    for task in spec.tasks:
        lookup(registry.tasks, task, broken)
    lookup_backbone(spec.backbone, broken)
    settings = {name: getattr(config, name) for name in changed(config)}
    return dataclasses.replace(spec, method_config=settings)
