"""``harness list``: what is registered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.errors import Debug, guarded, one_line, warn_broken
from harness.spec import check_choice

_NOUNS = ("methods", "tasks", "backbones")


def list_command(
    noun: Annotated[
        str | None, typer.Argument(help="methods, tasks or backbones; all three by default.")
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file that registers more.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """List the methods, tasks and backbones with their settings, and the plugins that broke."""
    with guarded(debug):
        if noun is not None:
            check_choice("kind of thing", noun, _NOUNS)
        from harness import registry

        broken = registry.discover(plugin or ())
        nouns = _NOUNS if noun is None else (noun,)
        document: dict[str, Any] = {name: _entries(name) for name in nouns}
        document["broken"] = [asdict(one) for one in broken]
        if as_json:
            typer.echo(json.dumps(document, indent=1))
        else:
            for name in nouns:
                _print(name, document[name])
        warn_broken(broken, debug)


def _entries(noun: str) -> list[dict[str, Any]]:
    from harness import registry
    from harness.settings import settings_of

    def settings(config: type) -> list[dict[str, str]]:
        return [asdict(setting) for setting in settings_of(config)]

    if noun == "methods":
        return [
            {
                "name": name,
                "summary": method.summary,
                "paper": method.paper,
                "origin": registry.methods.origin(name),
                "settings": settings(method.Config),
            }
            for name, method in ((name, registry.methods.get(name)) for name in registry.methods)
        ]
    if noun == "tasks":
        return [
            {
                "name": name,
                "summary": task.summary,
                "version": task.version,
                "licence": task.licence,
                "source": task.source,
                "kinds": {kind: about.description for kind, about in task.kinds.items()},
                "origin": registry.tasks.origin(name),
                "settings": settings(task.Config),
            }
            for name, task in ((name, registry.tasks.get(name)) for name in registry.tasks)
        ]
    return [
        {
            "name": name,
            "summary": registry.backbones.get(name).summary,
            "origin": registry.backbones.origin(name),
        }
        for name in registry.backbones
    ]


def _print(noun: str, entries: Sequence[dict[str, Any]]) -> None:
    typer.echo(f"{noun}:")
    width = max((len(entry["name"]) for entry in entries), default=0)
    for entry in entries:
        typer.echo(f"  {entry['name']:<{width}}  {one_line(entry['summary'])}")
        for setting in entry.get("settings", ()):
            typer.echo(f"  {'':<{width}}    {setting['name']}={setting['default']}  ({setting['type']})")
