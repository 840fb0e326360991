"""``harness new``: a working file to begin with."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded
from harness.errors import UsageError
from harness.spec import check_choice

_KINDS = ("fusion",)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def new_command(
    kind: Annotated[str, typer.Argument(help="What to make: fusion.")],
    name: Annotated[str, typer.Argument(help="Its name, such as my_fusion.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("."),
    debug: Debug = False,
) -> None:
    """Write a fusion method that works and its test, and print what to do next."""
    with guarded(debug):
        check_choice("kind of file", kind, _KINDS)
        _check_name(name)
        method, test = write_fusion(name, out)
        typer.echo(f"wrote {method}\nwrote {test}")
        typer.echo("next: replace what is marked TODO, then")
        for command in next_commands(name, method, test):
            typer.echo(f"  {command}")


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r} is not usable: the file is imported under it; give at most 40 lower-case "
            "letters, digits and '_' that begin with a letter, no keyword of Python, for instance my_fusion"
        )
    from harness import registry

    registry.discover()
    if name in registry.methods:
        raise UsageError(
            f"method {name!r} exists already: {registry.methods.origin(name)} registers it; "
            "choose another name"
        )


def write_fusion(name: str, out: Path) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into a folder; raises UsageError where one would be in the
    way."""
    from harness.cli.templates import FUSION, FUSION_TEST

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
    class_name = _class_name(name, FUSION + FUSION_TEST)
    out.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, (FUSION, FUSION_TEST), strict=True):
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("example_method", name).replace("ExampleMethod", class_name))
    return paths


def _class_name(name: str, text: str) -> str:
    """A class name that means nothing else in the text that it is put into."""
    taken = {*re.findall(r"\w+", text), *keyword.kwlist}
    class_name = "".join(part.capitalize() for part in name.split("_"))
    while {class_name, f"{class_name}Config"} & taken:
        class_name += "Impl"
    return class_name


def next_commands(name: str, method: Path, test: Path) -> list[str]:
    """From the files to a report."""
    plugin = f"--plugin {shlex.quote(str(method))}"
    return [
        f"python -m pytest {shlex.quote(str(test))}",
        f"harness list methods {plugin}",
        f"harness train --method {name} {plugin} --steps 100 --out models",
        f"harness eval --task videoqa --methods {name},vanilla_ca {plugin} --models models",
    ]
