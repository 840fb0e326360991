"""What a task or a vision encoder refuses to show, found before anything is measured.

A cell that is refused for its combination is skipped with the reason, since other cells of the grid are
possible: 64 frames of one task beside another that has at most 32. A task, a number of frames or a resolution
of which nothing is left is a mistake, and ends the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness import registry
from harness.errors import UsageError
from harness.settings import build_config
from harness.task import Task, View

if TYPE_CHECKING:
    from harness.encoders import EncoderSpec
    from harness.encoders.base import Encoder
    from harness.plan import PlannedTask
    from harness.planned_models import PlannedModel
    from harness.records import CellKey


class Refusals:
    """Asked of every cell in turn, then once whether anything is left of each value."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[Task | None, str | None]] = {}
        self._views: dict[tuple[str, View], str | None] = {}
        self._encoders: dict[str, Encoder | None] = {}
        self._asked: dict[tuple[str, object], list[str | None]] = {}

    def of(self, task: PlannedTask | None, model: PlannedModel, key: CellKey) -> str | None:
        """Why a cell cannot be shown, or None; without a task, its frames are made to measure."""
        view = View(
            frames=key.frames, height=key.height, width=key.width, seed=key.view_seed, limit=key.limit
        )
        reason = (task and self._task(task, view)) or self._size(model.encoder, view)
        for value in (("task", key.task), ("frames", key.frames), ("size", (key.height, key.width))):
            self._asked.setdefault(value, []).append(reason)
        return reason

    def check(self) -> None:
        """Raise UsageError for a value that is refused in each of its cells."""
        for reasons in self._asked.values():
            if None not in reasons:
                raise UsageError(str(reasons[0]))

    def _task(self, planned: PlannedTask, view: View) -> str | None:
        name = str(planned)
        if name not in self._tasks:
            made: list[Task] = []
            cls, config = registry.tasks.get(planned.name), {**planned.config, **planned.places}
            reason = _refusal(lambda: made.append(cls(build_config(cls.Config, config, planned.name))))
            self._tasks[name] = (made[0] if made else None, reason)
        task, reason = self._tasks[name]
        if task is None:
            return reason
        if (name, view) not in self._views:
            self._views[name, view] = _refusal(lambda: task.check_view(view))
        return self._views[name, view]

    def _size(self, spec: EncoderSpec | None, view: View) -> str | None:
        if spec is None:
            return None
        name = str(spec)
        if name not in self._encoders:
            from harness.counting.building import make_shapes

            made: list[Encoder] = []
            _refusal(lambda: made.append(make_shapes(spec)))
            self._encoders[name] = made[0] if made else None
        encoder = self._encoders[name]
        return None if encoder is None else _refusal(lambda: encoder.check_size(view.height, view.width))


def _refusal(check: Callable[[], object]) -> str | None:
    """The text of a UsageError; any other error is left to the cells, which record it with its traceback."""
    try:
        check()
    except UsageError as error:
        return str(error)
    except Exception:
        return None
    return None
