"""``harness list``: what is registered."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.errors import Debug, guarded, one_line, warn_broken
from harness.spec import check_choice

_NOUNS = ("methods", "tasks", "backbones", "published")
_NARROWEST, _WIDEST = 80, 120


def list_command(
    noun: Annotated[
        str | None, typer.Argument(help="methods, tasks, backbones or published; all by default.")
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file that registers more.")] = None,
    models: Annotated[
        list[Path] | None, typer.Option(help="Folder of trained models, listed beside the shipped ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """List the methods, tasks and backbones with their settings, the classes of published vision-language
    models that run with their own fusion, and the plugins that broke.

    Of a method: its memory as declared, the parameters that it adds, and the models trained with it.
    """
    with guarded(debug):
        if noun is not None:
            check_choice("kind of thing", noun, _NOUNS)
        from harness import registry

        broken = registry.discover(plugin or ())
        nouns = _NOUNS if noun is None else (noun,)
        document: dict[str, Any] = {name: _entries(name, models or ()) for name in nouns}
        if "tasks" in nouns:
            document["families"] = registry.tasks.families()
        document["broken"] = [asdict(one) for one in broken]
        if as_json:
            typer.echo(json.dumps(document, indent=1))
        else:
            for name in nouns:
                _print(name, document[name], document["families"] if name == "tasks" else {})
        warn_broken(broken, debug)


def _entries(noun: str, models: Sequence[Path]) -> list[dict[str, Any]]:
    from harness import registry
    from harness.cli.methods import describe_method, trained_models
    from harness.settings import settings_of

    def settings(config: type) -> list[dict[str, str]]:
        return [asdict(setting) for setting in settings_of(config)]

    if noun == "methods":
        trained = trained_models(models)
        return [
            {
                "name": name,
                "summary": method.summary,
                "paper": method.paper,
                "origin": registry.methods.origin(name),
                **describe_method(method, trained),
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
    if noun == "published":
        from harness.published_models.families import entries

        return [asdict(entry) for entry in entries()]
    return [
        {
            "name": name,
            "summary": registry.backbones.get(name).summary,
            "origin": registry.backbones.origin(name),
        }
        for name in registry.backbones
    ]


def _print(noun: str, entries: Sequence[dict[str, Any]], families: Mapping[str, str]) -> None:
    from harness.cli.methods import method_lines

    typer.echo(f"{noun}:")
    width = min(_WIDEST, max(_NARROWEST, shutil.get_terminal_size((_NARROWEST, 0)).columns))
    for entry in entries:
        _wrapped(f"{entry['name']}  {entry['summary']}", width, 2)
        for line in method_lines(entry) if noun == "methods" else ():
            _wrapped(line, width, 6)
        if entry.get("not_streamed"):
            _wrapped(f"not streamed  {entry['not_streamed']}", width, 6)
        for setting in entry.get("settings", ()):
            _wrapped(f"{setting['name']}={setting['default']}  ({setting['type']})", width, 6)
    for name, summary in families.items():
        _wrapped(f"{name}:NAME  {summary}", width, 2)


def _wrapped(text: str, width: int, indent: int) -> None:
    """One item over as many lines as it takes; a name and its explanation stay two blanks apart."""
    name, gap, rest = text.partition("  ")
    clean = one_line(name) + (gap + one_line(rest) if gap else "")
    typer.echo(
        textwrap.fill(
            clean,
            width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 4),
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
