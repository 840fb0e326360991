"""The garbage collector: the moment at which it runs would move a peak and disturb a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect once, then keep the collector off; it is as before afterwards."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def freeze() -> None:
    """Exempt all that exists from collection, for as long as the process lives."""
    gc.collect()
    gc.freeze()


@contextmanager
def frozen() -> Iterator[None]:
    """Exempt all that exists from collection, so that collecting inside costs only what was made inside.

    Inside another such region, or where the process has frozen objects itself, nothing is thawed at the end.
    """
    outermost = gc.get_freeze_count() == 0
    freeze()
    try:
        yield
    finally:
        if outermost:
            gc.unfreeze()
