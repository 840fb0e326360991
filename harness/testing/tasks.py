"""Running properties on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import registry
from harness.errors import HarnessError, unknown
from harness.settings import build_config
from harness.spec import TaskSpec
from harness.task import Task, View
from harness.testing.failures import ViolationError
from harness.testing.task_properties import TASK_PROPERTIES, TaskProperty, TaskSubject

SAMPLES = 8


class TaskPropertyError(AssertionError):
    """A task breaks a property. ``also`` names the other properties that it breaks."""

    def __init__(
        self, *, task: str, item: TaskProperty, view: View, violation: ViolationError, also: tuple[str, ...]
    ) -> None:
        self.task, self.property, self.view, self.also = task, item.name, view, also
        self.statement, self.found = item.statement, violation.found
        self.cause = violation.cause or item.cause
        super().__init__(violation.found)

    def __str__(self) -> str:
        view = self.view
        again = (
            f"check_task(..., properties=[{self.property!r}], frames=[{view.frames}], "
            f"sizes=[({view.height}, {view.width})], limit={view.limit})"
        )
        lines = [
            f"task {self.task} breaks {self.property!r}: {self.statement}",
            f"  found: {self.found}",
            f"  view: {view.frames} frame(s) of {view.height}x{view.width}",
            f"  likely cause: {self.cause}",
            f"  again: {again}",
        ]
        if self.also:
            lines.append(f"  also broken: {', '.join(self.also)}")
        return "\n".join(lines)


def check_task(
    task: str | type[Task],
    settings: Mapping[str, object] | None = None,
    *,
    properties: Sequence[str] | None = None,
    frames: Sequence[int] = (1, 4),
    sizes: Sequence[tuple[int, int]] = ((64, 64), (32, 48)),
    limit: int = SAMPLES,
) -> tuple[str, ...]:
    """Check what holds for every task, on the first ``limit`` samples of some views.

    ``task`` is a class, a registered name, or a name with settings as on the command line
    (``videoqa:clips=8``). ``properties`` chooses some of ``TASK_PROPERTIES``; ``sizes`` are heights and
    widths in pixels.

    Returns the names of the properties that were checked. Raises TaskPropertyError, an AssertionError, for
    the first that is broken, with the view and the names of the others; UsageError for unknown names.
    """
    subject = _subject(task, settings or {})
    views = [
        View(frames=count, height=height, width=width, limit=limit)
        for height, width in sizes
        for count in frames
    ]
    checked, broken = [], []
    for item in _chosen(properties):
        if not item.applies(subject):
            continue
        checked.append(item.name)
        asked = views[-1:] if item.once else views
        found = next(filter(None, (_find(item, subject, view) for view in asked)), None)
        if found is not None:
            broken.append((item, *found))
    if broken:
        item, view, violation = broken[0]
        also = tuple(other.name for other, *_ in broken[1:])
        raise TaskPropertyError(
            task=subject.name, item=item, view=view, violation=violation, also=also
        ) from violation.__cause__
    return tuple(checked)


def _subject(task: str | type[Task], settings: Mapping[str, object]) -> TaskSubject:
    if isinstance(task, str):
        registry.discover()
        spec = TaskSpec.parse(task)
        name, cls, settings = spec.name, registry.tasks.get(spec.name), {**spec.config, **settings}
    else:
        name, cls = task.__name__, task
    return TaskSubject(name, cls, build_config(cls.Config, settings, f"task {name!r}"))


def _chosen(names: Sequence[str] | None) -> list[TaskProperty]:
    for name in names or ():
        if name not in TASK_PROPERTIES:
            raise unknown("property", name, TASK_PROPERTIES)
    return [item for name, item in TASK_PROPERTIES.items() if names is None or name in names]


def _find(item: TaskProperty, subject: TaskSubject, view: View) -> tuple[View, ViolationError] | None:
    """What a check finds in a view; an exception of the task's is a finding too."""
    try:
        item.check(subject, view)
    except ViolationError as violation:
        return view, violation
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        said = first if isinstance(error, HarnessError) else f"{type(error).__name__}: {first}"
        raised = ViolationError(said, "the task itself raises it; the traceback says where")
        raised.__cause__ = error
        return view, raised
    return None
