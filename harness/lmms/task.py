"""Tasks ``lmms:NAME``: any task or group of the installed lmms-eval that asks about images or video."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.errors import UsageError, in_words, is_disk_full, is_out_of_memory
from harness.likelihood import Losses
from harness.lmms.catalogue import DISTRIBUTION, LeafSpec, find, installed
from harness.lmms.data import fingerprint, hub_revision
from harness.lmms.leaf import MODULES, Answer, Leaf, output_type
from harness.lmms.theirs import contained, their
from harness.lmms.visuals import prompt_of
from harness.records import SampleOutcome
from harness.settings import place
from harness.stream import Stream
from harness.task import Kind, Question, Sample, SamplesOnDemand, Score, Task, TaskConfig, View

_HUB = "hub-"


@dataclass(frozen=True, kw_only=True)
class LmmsConfig(TaskConfig):
    """``data`` is a local copy of the data set, by default the hub's; ``max_new_tokens`` cuts answers short.

    The other settings are found when the run is planned, are part of what a cell is, and can be given to ask
    for them: the version of lmms-eval, a hash over the task's own files, and the data's fingerprint (of a
    local copy) or commit (on the hub, with ``hub-`` before it).
    """

    leaves: ClassVar[tuple[LeafSpec, ...]] = ()
    name: ClassVar[str] = ""

    data: str = place()
    max_new_tokens: int | None = None
    lmms_eval: str = ""
    task_hash: str = ""
    task_version: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens={self.max_new_tokens} leaves no answer; give 1 or more")
        for leaf in self.leaves:
            output_type(leaf)
        self._hold("lmms_eval", str(installed()), "install that version, or plan the run again")
        self._hold("task_hash", _joined(leaf.digest for leaf in self.leaves), "plan the run again")
        self._hold("task_version", _joined(dict.fromkeys(leaf.version for leaf in self.leaves)), "plan again")
        if self.data:
            found = fingerprint(Path(self.data))
        else:
            found = _joined(dict.fromkeys(_HUB + hub_revision(leaf)[:12] for leaf in self.leaves))
        self._hold("fingerprint", found, "give the data that was meant, or plan the run again")

    def _hold(self, field: str, found: str, fix: str) -> None:
        """Set what was not given; refuse what is not so."""
        given = getattr(self, field)
        if given and given != found:
            raise UsageError(f"task lmms:{self.name}: {field} is {found}, not {given}; {fix}")
        object.__setattr__(self, field, found)


def _joined(parts: Iterable[str]) -> str:
    """One text for one part, a hash for a group's many."""
    listed = list(parts)
    return listed[0] if len(listed) == 1 else hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


class LmmsTask(Task):
    """Base of the classes that the family makes. A document is a sample with one question, and a question's
    kind is the task of lmms-eval that it is from. ``limit`` counts each task of a group apart."""

    version: ClassVar[int] = 1
    licence: ClassVar[str] = "that of the data set; lmms-eval: MIT and Apache-2.0"
    config: LmmsConfig

    @cached_property
    def _leaves(self) -> dict[str, Leaf]:
        data = Path(self.config.data) if self.config.data else None
        return {spec.name: Leaf(spec, data, self._revision(spec)) for spec in self.config.leaves}

    def _revision(self, spec: LeafSpec) -> str | None:
        return None if self.config.data else hub_revision(spec)

    def samples(self, view: View) -> Sequence[Sample]:
        """The documents in their order, the first ``limit`` of each task.

        One that cannot be shown stays, with the reason in ``media["error"]``.
        """
        if view.frames < 1:
            raise UsageError(f"{view.frames} frames are asked for; ask for 1 or more")
        places = [
            (leaf, index)
            for leaf in self._leaves.values()
            for index in range(leaf.count if view.limit is None else min(view.limit, leaf.count))
        ]
        return SamplesOnDemand(len(places), lambda place: self._sample(*places[place], view))

    def _sample(self, leaf: Leaf, index: int, view: View) -> Sample:
        name = f"{leaf.spec.name}/{index}"
        choices: tuple[str, ...] = ()
        try:
            choices = leaf.choices(index)
            shown = prompt_of(leaf.parts(index), str(index), view)
            stream, prompt, media, group = Stream(shown.items), shown.question, shown.media, shown.group
        except Exception as error:  # Whatever a task's own code raises is about this document alone.
            if is_out_of_memory(error) or is_disk_full(error):
                raise
            reason = in_words(error)
            if isinstance(error, KeyError):
                reason += f" (the document has {', '.join(map(str, leaf.document(index)))})"
            stream, prompt, media, group = Stream(()), "", {"error": reason}, None
        cluster = leaf.document(index).get(leaf.cluster_key) if leaf.cluster_key else None
        question = Question(
            id=name,
            kind=leaf.spec.name,
            prompt=prompt,
            answer=leaf.right_choice(index, choices) if choices else leaf.target(index),
            chance=1 / len(choices) if choices else None,
            choices=choices,
            max_new_tokens=self.config.max_new_tokens or leaf.max_new_tokens,
            by_likelihood=bool(choices),
        )
        return Sample(
            id=name,
            stream=stream,
            questions=(question,),
            group=str(cluster) if cluster is not None else group or name,
            media=media,
        )

    def score(self, prediction: str, question: Question) -> Score:
        leaf, index = self._place(question.id)
        return leaf.score(prediction, index)

    def score_losses(self, losses: Losses, question: Question) -> Score:
        leaf, index = self._place(question.id)
        return leaf.score(losses, index)

    def aggregates(self, outcomes: Sequence[SampleOutcome]) -> dict[str, float | None]:
        """lmms-eval's own metrics, on its own scale; those of a group's tasks with the task's name before
        them."""
        answers: dict[str, list[tuple[int, Answer]]] = {}
        for outcome in outcomes:
            given = outcome.choice_losses or outcome.prediction
            # A scorer that failed on an answer is not asked again, and takes no other answer's metric along.
            if given is not None and outcome.counts:
                leaf, index = self._place(outcome.question)
                answers.setdefault(leaf.spec.name, []).append((index, given))
        single = len(self._leaves) == 1
        return {
            metric if single else f"{name}/{metric}": value
            for name, given in answers.items()
            for metric, value in self._leaves[name].aggregates(given).items()
        }

    def _place(self, question: str) -> tuple[Leaf, int]:
        name, _, index = question.rpartition("/")
        return self._leaves[name], int(index)


class LmmsFamily:
    """Makes ``lmms:NAME``; see :class:`harness.registry.Family`."""

    summary = "the tasks of an installed lmms-eval, scored by its own code (docs/lmms_eval.md)"

    def warm(self) -> None:
        with contained():
            for module in MODULES:
                their(module)

    def make(self, name: str) -> type[Task]:
        leaves = find(name)
        config = type(
            f"Config_{name}", (LmmsConfig,), {"leaves": leaves, "name": name, "__module__": __name__}
        )
        kinds = {
            leaf.name: Kind(description=f"task {leaf.name} of lmms-eval", needs="any") for leaf in leaves
        }
        sources = dict.fromkeys(str(leaf.config.get("dataset_path")) for leaf in leaves)
        attributes = {
            "__module__": __name__,
            "__doc__": LmmsTask.__doc__,
            "Config": config,
            "summary": f"{name} of {DISTRIBUTION} {installed()}",
            "source": f"data sets {', '.join(sources)}",
            "kinds": kinds,
        }
        return type(f"Lmms_{name}", (LmmsTask,), attributes)
