"""Errors of code that a checkpoint brings, as one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.modelfiles import CONFIG, read_json


@contextmanager
def own_code(folder: Path) -> Iterator[None]:
    """Raise UsageError where a checkpoint's own code cannot be imported or run on what is installed."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise
        raise UsageError(refusal(folder, error)) from error


def other_commit(what: str) -> UsageError:
    """The error for code that an adapter cannot use as it is."""
    return UsageError(
        f"the checkpoint's code cannot be run here: {what}; take another commit of its repository "
        "(docs/published_models.md says what it must offer)"
    )


def refusal(folder: Path, error: Exception) -> str:
    """One line: what failed, the versions here and of the checkpoint, and what to install."""
    import transformers

    made_with = str(read_json(folder / CONFIG).get("transformers_version") or "another version")
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return (
        f"the code in {folder} does not run with transformers {transformers.__version__} ({reason}); it was "
        f"saved with {made_with}: install that version, and what the code imports, in an environment of its "
        "own (docs/published_models.md)"
    )
