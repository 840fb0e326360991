"""What to say where a part of a report cannot be made: the rest must still be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from harness.report.document import Notice, Section

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class NotMadeWarning(UserWarning):
    """A figure, a table or a section could not be made; the report says so in its place.

    A warning beside the notice, so that whoever turns warnings into errors, as the tests do, sees the fault.
    """


def made(
    what: str, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs
) -> _Made | Notice:
    """What ``make`` gives, or a notice with the reason why it gives nothing."""
    try:
        return make(*given, **named)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"{what} could not be made ({reason[:300]})"
        warnings.warn(NotMadeWarning(message), stacklevel=2)
        return Notice(f"{message[0].upper()}{message[1:]}.")


def made_section(
    title: str, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs
) -> _Made | Section:
    """The section that ``make`` gives, or one with that title and the reason why it gives none."""
    result = made(f"the section {title!r}", make, *given, **named)
    return Section(title=title, blocks=(result,)) if isinstance(result, Notice) else result
