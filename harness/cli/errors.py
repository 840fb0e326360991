"""How a command ends when something is wrong: one line on standard error and the right exit status."""

from __future__ import annotations

import contextlib
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from harness.errors import ExitCode, HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.registry import BrokenPlugin

INTERRUPTED = 130

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def say(text: str) -> None:
    """One message on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_line(stream: TextIO, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Shows one line that is written over and is gone at the end; on a terminal only, and not when quiet."""
    shown = stream.isatty() and not quiet

    def show(line: str) -> None:
        if shown:
            width = shutil.get_terminal_size().columns
            stream.write(f"\r\033[K{one_line(line)[: width - 1]}\r")
            stream.flush()

    try:
        yield show
    finally:
        if shown:
            stream.write("\r\033[K")
            stream.flush()


def one_line(text: object) -> str:
    """The text without line breaks and without what would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def first_line(text: object) -> str:
    """What to say of an error that is not the harness's own: torch's go on with a backtrace of C++."""
    return one_line(next(iter(str(text).splitlines()), ""))


@contextlib.contextmanager
def guarded(debug: bool, on_interrupt: str = "stopped") -> Iterator[None]:
    """Turn what a command raises into a message and an exit status."""
    try:
        yield
    except HarnessError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {one_line(error)}")
        raise typer.Exit(int(error.exit_code)) from error
    except KeyboardInterrupt as error:
        if debug:
            traceback.print_exc()
        say(on_interrupt)
        raise typer.Exit(INTERRUPTED) from error
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except ModuleNotFoundError as error:
        if debug:
            traceback.print_exc()
        package = (error.name or str(error)).partition(".")[0]
        say(
            f"error: the package {package} is not installed here; `harness doctor` says what is missing and "
            "how to install it"
        )
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE)) from error
    except OSError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {one_line(error)}; free the way and run the same command again")
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE)) from error
    except (Exception, SystemExit) as error:  # A plugin may call sys.exit(0), which is no success.
        if debug:
            traceback.print_exc()
        from harness.sites import is_own, raising_line

        line = raising_line(error)
        report = ", and please report it" if is_own(line) else ""
        hint = "" if debug else f"; run again with --debug for the traceback{report}"
        at = f" at {line}" if line else ""
        say(f"error: unexpected {type(error).__name__}{at}: {first_line(error)}{hint}")
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE)) from error


def warn_broken(broken: Sequence[BrokenPlugin], debug: bool) -> None:
    """Name the plugins that could not be imported."""
    for plugin in broken:
        hint = "" if debug else " (traceback with --debug)"
        say(f"warning: plugin {plugin.source} could not be imported: {one_line(plugin.error)}{hint}")
        if debug:
            say(plugin.traceback.rstrip())
