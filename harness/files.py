"""Files that appear whole or not at all, and what a killed writer leaves behind.

A file is written under a temporary name in its own folder, synced and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import InfrastructureError, is_disk_full

CACHE_VARIABLE = "HARNESS_CACHE"
TEMPORARY = ".tmp-"
ABANDONED_S = 3600.0
"""Age from which a temporary file is nobody's any more: writing one takes seconds at most."""

_LONGEST_STEM = 100


def cache_folder() -> Path:
    """``$HARNESS_CACHE``, or ``vlm-fusion-harness`` in the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vlm-fusion-harness"


def files_below(root: Path) -> Iterator[Path]:
    """What lies below a folder and is no folder, in the order of names; links to folders are followed.

    A link that leads back to a folder on the way to it is left out, and a folder that cannot be read is
    yielded itself.
    """
    return _files_below(root, (root.resolve(),))


def _files_below(folder: Path, way: tuple[Path, ...]) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for path in paths:
        if not path.is_dir():
            yield path
        elif not path.is_symlink():
            yield from _files_below(path, (*way, way[-1] / path.name))
        elif not any(place.is_relative_to(path.resolve()) for place in way):
            yield from _files_below(path, (*way, path.resolve()))


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write all under temporary names, sync them, then rename them in order, directly after one another.

    Each file is whole at every moment. Raises OSError, after which earlier files are as they were, except
    for those renamed already.
    """
    waiting: dict[str, Path] = {}
    try:
        for path, content in contents.items():
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{_stem(path)}-")
            waiting[temporary] = path
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
        for temporary, path in tuple(waiting.items()):
            os.replace(temporary, path)
            del waiting[temporary]
    except BaseException:
        for temporary in waiting:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise
    for folder in dict.fromkeys(path.parent for path in contents):
        _sync_folder(folder)


def replace_file(path: Path, content: bytes) -> None:
    """Put one file in place, in a folder that may hold anything, and remove what killed writers of the same
    file left there. Raises OSError."""
    replace_files({path: content})
    remove_abandoned(path.parent, f"{glob.escape(_stem(path))}-*")


def remove_abandoned(folder: Path, pattern: str = f"{TEMPORARY}*", older_s: float = ABANDONED_S) -> None:
    """Remove temporary files and folders that were last written more than ``older_s`` seconds ago."""
    for path in folder.glob(pattern):
        # Another process may have removed it, or renamed it, by now.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > older_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _stem(path: Path) -> str:
    return f"{TEMPORARY}{path.name[:_LONGEST_STEM]}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing_to(root: Path) -> Iterator[None]:
    """Turn the file system's errors into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(f"cannot write to {str(root)!r}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if is_disk_full(error):
        return "the disk is full; free some space and run the same command again to go on"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission; choose another folder with --out"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "it is, or lies below, a file; choose another folder with --out"
    return f"{error.strerror or error}; choose another folder with --out"
