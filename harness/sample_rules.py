"""What the samples of a task must satisfy together; the parts of one check themselves as they are made."""

from __future__ import annotations

from harness.errors import UsageError
from harness.stream import Stream
from harness.task import Question, Sample, Task, View


class SampleRules:
    """Takes the samples of one view in their order; each error names the task, the sample and the rule."""

    def __init__(self, name: str, task: Task) -> None:
        self._name, self._kinds = name, task.kinds
        self._ids: set[str] = set()
        self._sizes: set[tuple[int, int]] = set()

    def check(self, sample: Sample) -> None:
        """Raise UsageError for what is no sample, for an id that was given before, for a kind of question
        that the task does not declare, and where only some questions are asked by likelihood."""
        _check_parts(self._name, sample)
        if sample.id in self._ids:
            raise UsageError(_shared(f"task {self._name!r} has samples", sample.id))
        self._ids.add(sample.id)
        self._sizes |= {frame.size for frame in sample.stream.frames}
        asked: set[str] = set()
        for question in sample.questions:
            if question.id in asked:
                raise UsageError(
                    _shared(f"task {self._name!r} asks questions of sample {sample.id!r}", question.id)
                )
            asked.add(question.id)
            if self._kinds and question.kind not in self._kinds:
                raise UsageError(
                    f"task {self._name!r} asks a question of kind {question.kind!r} about sample "
                    f"{sample.id!r}, but its kinds are {', '.join(self._kinds)}; add it to them"
                )
        compared = [question for question in sample.questions if question.by_likelihood]
        if compared and (len(compared) < len(sample.questions) or not all(one.choices for one in compared)):
            raise UsageError(
                f"task {self._name!r} asks by likelihood about sample {sample.id!r}; give each of its "
                "questions choices, and ask all of them so"
            )

    def finish(self, view: View) -> None:
        """Raise UsageError where there was no sample, or where frames differ in size."""
        if not self._ids:
            raise UsageError(
                f"task {self._name!r} has no samples for {view.frames} frames at {view.height}x{view.width}; "
                "check its settings and data, or ask for other frames"
            )
        if len(self._sizes) > 1:
            listed = ", ".join(f"{height}x{width}" for height, width in sorted(self._sizes))
            raise UsageError(
                f"task {self._name!r} shows frames of several sizes ({listed}); resize them to the view's "
                "size"
            )


def _check_parts(name: str, sample: object) -> None:
    if not isinstance(sample, Sample):
        raise UsageError(f"task {name!r} gives {sample!r} as a sample; give a harness.task.Sample")
    parts: dict[str, tuple[object, type]] = {
        "id": (sample.id, str),
        "group": (sample.group, str),
        "stream": (sample.stream, Stream),
        **{f"questions[{place}]": (one, Question) for place, one in enumerate(sample.questions)},
    }
    for field, (value, kind) in parts.items():
        if not isinstance(value, kind):
            raise UsageError(
                f"task {name!r} has a sample {sample.id!r} with {field}={value!r}; give a {kind.__name__}"
            )


def _shared(what: str, name: str) -> str:
    return f"{what} that share the id {name!r}; give each its own"
