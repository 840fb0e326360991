"""``harness new``: a working file to begin with."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded
from harness.errors import UsageError
from harness.spec import check_choice

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NEEDED = "pytest"


@dataclass(frozen=True, slots=True)
class Template:
    """A file that works and its test; ``noun`` stands for the name in both."""

    noun: str
    text: str
    test: str


def templates() -> dict[str, Template]:
    """What can be made, by the word for it on the command line."""
    from harness.cli.templates import FUSION, FUSION_TEST, TASK, TASK_TEST

    return {"fusion": Template("method", FUSION, FUSION_TEST), "task": Template("task", TASK, TASK_TEST)}


def new_command(
    kind: Annotated[str, typer.Argument(help="What to make: fusion or task.")],
    name: Annotated[str, typer.Argument(help="Its name, such as my_fusion.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("."),
    debug: Debug = False,
) -> None:
    """Write a fusion method or a task that works and its test, and print what to do next."""
    with guarded(debug):
        known = templates()
        check_choice("kind of file", kind, tuple(known))
        _check_name(name, known[kind].noun)
        file, test = write_new(kind, name, out)
        typer.echo(f"wrote {file}\nwrote {test}")
        typer.echo("next: replace what is marked TODO, then")
        for command in next_commands(kind, name, file, test):
            typer.echo(f"  {command}")


def _check_name(name: str, noun: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r} is not usable: the file is imported under it; give at most 40 lower-case "
            f"letters, digits and '_' that begin with a letter, no keyword of Python, for instance my_{noun}"
        )
    from harness import registry

    registry.discover()
    known = registry.methods if noun == "method" else registry.tasks
    if name in known.names():
        raise UsageError(
            f"{noun} {name!r} exists already: {known.origin(name)} registers it; choose another name"
        )


def write_new(kind: str, name: str, out: Path) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into a folder; raises UsageError where one would be in the
    way."""
    template = templates()[kind]
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {str(out)!r} is a file; give a folder")
    paths = out / f"{name}.py", out / f"test_{name}.py"
    for path in paths:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already and is left as it is; choose another name or --out")
    if importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"name {name!r} is not usable: a Python module has it, which the file would hide; choose another"
        )
    noun = template.noun
    class_name = _class_name(name, template.text + template.test)
    out.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, (template.text, template.test), strict=True):
        with path.open("x", encoding="utf-8") as file:
            file.write(
                text.replace(f"example_{noun}", name).replace(f"Example{noun.capitalize()}", class_name)
            )
    return paths


def _class_name(name: str, text: str) -> str:
    """A class name that means nothing else in the text that it is put into."""
    taken = {*re.findall(r"\w+", text), *keyword.kwlist}
    class_name = "".join(part.capitalize() for part in name.split("_"))
    while {class_name, f"{class_name}Config"} & taken:
        class_name += "Impl"
    return class_name


def next_commands(kind: str, name: str, file: Path, test: Path) -> list[str]:
    """From the files to a report."""
    plugin = f"--plugin {shlex.quote(str(file))}"
    needed = [f"python -m pip install {_NEEDED}"] if importlib.util.find_spec(_NEEDED) is None else []
    tested = [*needed, f"python -m pytest {shlex.quote(str(test))}"]
    if kind == "task":
        return [
            *tested,
            f"harness list tasks {plugin}",
            f"harness train --method casa --task {name} {plugin} --steps 100 --out models",
            f"harness eval --task {name} --methods casa {plugin} --models models",
        ]
    return [
        *tested,
        f"harness list methods {plugin}",
        f"harness train --method {name} {plugin} --steps 100 --out models",
        f"harness eval --task videoqa --methods {name},vanilla_ca {plugin} --models models",
    ]
