"""A grid of scenarios counted by processes beside this one, where it is large enough for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType

from harness import registry
from harness.collector import freeze
from harness.counting.records import CountKey, CountRecord
from harness.counting.run import count_all, count_one, naming, scenarios
from harness.counting.spec import CountSpec
from harness.crew import Crew, cores

WORTH_A_PROCESS = 24
"""Scenarios that take longer than starting a process does."""

Wanted = tuple[Sequence[Path], CountKey]


class SideBySide(AbstractContextManager["SideBySide"]):
    """Counts grids as :func:`harness.counting.run.count` does, to the byte, for the length of a with-block.

    The processes start with the first grid that is large enough and stay for those that follow.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._crew: Crew[Wanted, CountRecord] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __call__(
        self, spec: CountSpec, progress: Callable[[str], None] = lambda line: None
    ) -> list[CountRecord]:
        """Count every scenario of a grid; raises what :func:`~harness.counting.run.scenarios` raises, and
        InfrastructureError where a scenario ends the process that counts it."""
        keys = scenarios(spec)
        size = min(cores(), len(keys) // WORTH_A_PROCESS)
        if self._crew is None and size > 1:
            self._crew = self._stack.enter_context(Crew(counting, size))
        if self._crew is None:
            return list(count_all(keys, progress))
        waiting = [self._crew.submit((spec.plugins, key), naming(key)) for key in keys]
        found = []
        for key, record in zip(keys, waiting, strict=True):
            progress(naming(key))
            found.append(record.result())
        return found


def counting(wanted: Wanted) -> CountRecord:
    """The record of a scenario whose method may come from plugins."""
    plugins, key = wanted
    registry.discover(plugins)
    _freeze()
    return count_one(key)


_freeze = cache(freeze)
"""Once, after the first scenario's plugins are imported."""
