"""The layout that an install relies on: links, names, what a wheel carries, and cheap imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKED = ("fusion_impls", "tasks")


def run_python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", LINKED)
def test_folder_is_reached_through_a_relative_link(name: str) -> None:
    link = ROOT / "harness" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", LINKED)
def test_folder_refuses_its_short_name(name: str) -> None:
    done = run_python(f"import {name}")
    assert done.returncode != 0
    assert f"import it as 'harness.{name}'" in done.stderr


@pytest.mark.parametrize("module", ["harness", "harness.cli", "harness.report"])
def test_import_is_cheap(module: str) -> None:
    heavy = ("torch", "transformers", "datasets", "pandas", "matplotlib", "sklearn", "scipy")
    done = run_python(f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_the_report_leaves_matplotlib_as_it_was() -> None:
    code = """if True:
        import matplotlib as mpl
        def state():
            names = set(mpl.rcParams) - {"backend"}
            return mpl.get_backend(auto_select=False), {name: mpl.rcParams[name] for name in names}
        before = state()
        import harness.report.build
        assert before == state()
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that is built from a copy of the sources with made-up reference models."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__", "reference_models")
    for name in ("harness", *LINKED, "tests"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    models = source / "harness" / "reference_models"
    for seed in ("encoder", "casa/seed0", "casa/seed1", "plain/seed0", "plain/seed10"):
        (models / seed).mkdir(parents=True)
        (models / seed / "model.safetensors").write_bytes(b"weights")
        (models / seed / "README.md").write_text("card")
    (models / "tokenizer.json").write_text("{}")
    done = run_python(f"import setuptools.build_meta as b; b.build_wheel({str(folder)!r})", cwd=source)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_wheel_holds_one_top_level_name(wheel: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"harness"}


def test_wheel_holds_every_module_and_the_type_marker(wheel: list[str]) -> None:
    modules = [
        "harness/" + str(path.relative_to(ROOT / "harness"))
        for path in (ROOT / "harness").rglob("*.py")
        if "reference_models" not in path.parts
    ]
    modules += [
        str(Path("harness") / path.relative_to(ROOT))
        for name in LINKED
        for path in (ROOT / name).rglob("*.py")
    ]
    assert set(modules) - set(wheel) == set()
    assert "harness/py.typed" in wheel


def test_wheel_carries_the_first_seed_of_each_method(wheel: list[str]) -> None:
    prefix = "harness/reference_models/"
    models = {name.removeprefix(prefix) for name in wheel if name.startswith(prefix)}
    folders = ("encoder", "casa/seed0", "plain/seed0")
    expected = {f"{folder}/{file}" for folder in folders for file in ("model.safetensors", "README.md")}
    assert models == {*expected, "tokenizer.json"}
