"""Errors that a user can act on, and the exit codes they become.

Every message names the value received, the rule it breaks and the fix. The command line prints such an
error as one line; a traceback is shown with ``--debug`` only.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line's exit status means."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    NOTHING_MEASURED = 3
    INFRASTRUCTURE = 4


class HarnessError(Exception):
    """Base of every error that is the user's or the machine's, not a bug."""

    exit_code: ExitCode = ExitCode.INFRASTRUCTURE


class UsageError(HarnessError, ValueError):
    """A value that the user gave cannot be used."""

    exit_code = ExitCode.USAGE


class NothingMeasuredError(HarnessError):
    """A run that ended without one measured cell."""

    exit_code = ExitCode.NOTHING_MEASURED


class InfrastructureError(HarnessError):
    """The machine is in the way: a full disk, a missing device, a folder that cannot be written."""

    exit_code = ExitCode.INFRASTRUCTURE


class MediaError(HarnessError):
    """An image or video that cannot be read; names the file, what is wrong and the fix."""


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=>)")
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "unable to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the host or of a device, was too small; torch says so in several ways."""
    return any(map(_says_out_of_memory, _causes(error)))


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk, or the share of it that a user has, was too small."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(one, OSError) and one.errno in full for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    try:
        text = str(error).lower()
    except Exception:  # An error's own text may fail to be made.
        return False
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def text_of(error: BaseException) -> str:
    """An error's text, which may fail to be made; what is no valid Unicode is escaped."""
    try:
        return storable(str(error))
    except Exception:
        return "(its text cannot be made)"


def storable(text: str) -> str:
    """The text with what is no valid Unicode, such as half a surrogate pair, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def in_words(error: BaseException) -> str:
    """An error for a record: its type, unless it is the harness's own, and its text without addresses in
    memory, which differ from run to run."""
    text = _ADDRESS.sub("", text_of(error))
    return text if isinstance(error, HarnessError) else f"{type(error).__name__}: {text}"


def unknown(what: str, name: str, known: Iterable[str], *, of: str = "", else_: str = "") -> UsageError:
    """The error for a name that is not known, with the near matches or everything that is.

    ``of`` says what it is not known of; ``else_`` is another way out, a clause of its own.
    """
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif options:
        hint = "known: " + ", ".join(options)
    else:
        hint = f"no {what} is known"
    owner = f" of {of}" if of else ""
    return UsageError(f"unknown {what} {name!r}{owner}: {hint}{else_}")
