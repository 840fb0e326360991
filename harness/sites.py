"""Which line of code is to be named for an operator: the method's or the harness's, not the library's."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from functools import cache
from pathlib import Path
from types import FrameType

_HARNESS = Path(__file__).resolve().parent
_ROOT = _HARNESS.parent
_SHIPPED = (_ROOT / "fusion_impls", _ROOT / "tasks")
# What merely carries out what a method asks for; the line that asks is the one to name.
_CARRIERS = tuple(
    _HARNESS / name
    for name in ("attention", "backbones", "counting/shapes.py", "measure", "registry.py", "state.py")
)
_LIBRARIES = tuple(
    Path(spec.origin).resolve().parent
    for name in ("torch", "transformers", "numpy")
    if (spec := importlib.util.find_spec(name)) is not None and spec.origin is not None
)
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
# A Python without a virtual environment has what is installed below its standard library.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def calling_line() -> str:
    """``file.py:line`` of the innermost caller outside of torch, transformers, NumPy and the carriers.

    Paths inside the checkout are relative to it. Empty where there is none.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _named(frame.f_code.co_filename)
        if name is not None:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def raising_line(error: BaseException) -> str:
    """The same for where an error was raised; the innermost frame at all where no line is to be named."""
    return raising(error)[0]


def is_own(line: str) -> bool:
    """Whether a line, as these functions name it, is the harness's: none of a plugin's, a test's or a
    library's."""
    path = (_ROOT / line.rpartition(":")[0]).resolve()
    return path.is_file() and any(path.is_relative_to(base) for base in (_HARNESS, *_SHIPPED))


def raising(error: BaseException) -> tuple[str, str]:
    """``raising_line`` and the text of that line."""
    frames = traceback.extract_tb(error.__traceback__)
    for entry in reversed(frames):
        name = _named(entry.filename)
        if name is not None:
            return f"{name}:{entry.lineno}", entry.line or ""
    if not frames:
        return "", ""
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}", frames[-1].line or ""


@cache
def _named(filename: str) -> str | None:
    """How a source file is called, None where it is not to be named."""
    if filename.startswith("<"):
        return None
    path = Path(filename).resolve()
    if any(path.is_relative_to(base) for base in (*_LIBRARIES, *_CARRIERS)):
        return None
    if path.is_relative_to(_STANDARD) and _INSTALLED.isdisjoint(path.relative_to(_STANDARD).parts):
        return None
    for base in (_ROOT, Path.cwd()):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)
