"""One task of lmms-eval at work: its documents, its prompts, its scorer, in its own code.

The task object is lmms-eval's (of the kind that it gives to chat models), built from the task's YAML file;
only where the data comes from is decided here.
"""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.errors import MediaError, UsageError
from harness.likelihood import Losses, likeliest
from harness.lmms.catalogue import LeafSpec
from harness.lmms.data import home_of, redirected
from harness.lmms.scoring import Aggregation, is_submission, score_of, with_correct
from harness.lmms.theirs import contained, scoring, their
from harness.lmms.visuals import Part, parts_of_messages
from harness.task import Score

Answer = str | Losses
"""Text, or the loss of each choice."""
MODEL_NAME = "fusion_harness"
"""The harness's name among lmms-eval's models; tasks may have settings per model."""
DEFAULT_NEW_TOKENS = 16
MODULES = ("lmms_eval.api.metrics", "lmms_eval.utils", "lmms_eval.api.task", "lmms_eval.api.reasoning")
"""What a task needs of lmms-eval beside its own files; the first registers what those name."""
_TEXT, _CHOICE = "generate_until", "multiple_choice"
_REASONING_TAGS = (("<think>", "</think>"), ("<analysis>", "</analysis>"))
"""What lmms-eval's command line strips from answers unless it is told otherwise."""


def output_type(spec: LeafSpec) -> str:
    """How a task wants its answers. Raises UsageError for another way than text or the likeliest choice."""
    found = str(spec.config.get("output_type", _TEXT))
    if found not in (_TEXT, _CHOICE):
        raise UsageError(
            f"task lmms:{spec.name} is of output type {found}, which the harness has no way to ask; "
            f"choose a task of type {_TEXT} or {_CHOICE}"
        )
    return found


class Leaf:
    """A task with its data. ``data`` None takes it from the hub at ``revision``.

    Raises what its data or code raise.
    """

    def __init__(self, spec: LeafSpec, data: Path | None, revision: str | None = None) -> None:
        self.by_likelihood = output_type(spec) == _CHOICE
        """Whether the likeliest of a document's choices is the answer."""
        self.spec, self._data, self._revision = spec, data, revision
        self._home = None if data is None else home_of(spec, data)
        self._task = self._built()
        self._said: dict[tuple[Answer, int], Mapping[str, Mapping[str, Any]]] = {}

    def _built(self) -> Any:
        with self._at_work():
            their("lmms_eval.api.metrics")  # Registers what the YAML files name: exact_match, anls, mean.
            if self._data is None:
                config = self._read_config()
                pinned = {"revision": self._revision} if self._revision is not None else {}
                config["dataset_kwargs"] = {**(config.get("dataset_kwargs") or {}), **pinned}
                return self._constructed(config)
            # Around the reading too: it runs the task's Python files, which may take the function over.
            with redirected(self.spec, self._data):
                try:
                    return self._constructed({**self._read_config(), "dataset_kwargs": None})
                except KeyError as error:  # It tries its prompt on the first document.
                    raise UsageError(
                        f"task lmms:{self.spec.name} reads {error} of a document, which the data in "
                        f"{self._data} do not have; give the data set with the columns it is published with"
                    ) from error

    def _read_config(self) -> dict[str, Any]:
        """The task's YAML file with its functions, from Python files that are run anew."""
        config: dict[str, Any] = their("lmms_eval.utils").load_yaml_config(str(self.spec.path), mode="full")
        return config

    def _constructed(self, config: dict[str, Any]) -> Any:
        base = their("lmms_eval.api.task").ConfigurableMessagesTask
        return _once(base)(config=config, model_name=MODEL_NAME)

    def _at_work(self, seed: int = 0) -> Any:
        return contained(self._home, seed)

    @cached_property
    def count(self) -> int:
        return len(self._task.eval_docs)

    @property
    def max_new_tokens(self) -> int:
        """The longest answer that the task asks for, in tokens."""
        given = (self._task.config.generation_kwargs or {}).get("max_new_tokens")
        return int(given) if given else DEFAULT_NEW_TOKENS

    @property
    def cluster_key(self) -> str | None:
        """The field of a document whose value is shared by questions that belong together."""
        key: str | None = self._task.config.cluster_key
        return key

    def document(self, index: int) -> Mapping[str, Any]:
        """A document without its images, as lmms-eval's command line gives it to a scorer."""
        found: Mapping[str, Any] = self._task.eval_docs_no_media[index]
        return found

    def parts(self, index: int) -> list[Part]:
        """What a document shows and asks. Raises MediaError or TheirError."""
        with self._at_work():
            return parts_of_messages(self._task.doc_to_messages(self._task.eval_docs[index]))

    def target(self, index: int) -> str:
        """The truth as text, for people to read; scorers take it from the document. Empty where there is
        none, as in a test set whose answers are not published."""
        try:
            with self._at_work():
                target = self._task.doc_to_target(self.document(index))
        except Exception:
            return ""
        return " | ".join(map(str, target)) if isinstance(target, list) else str(target)

    def choices(self, index: int) -> tuple[str, ...]:
        """What a document gives to choose from; nothing where an answer is text. Raises MediaError for a
        choice without text, and what the task's code raises."""
        if not self.by_likelihood:
            return ()
        with self._at_work():
            choices = tuple(map(str, self._task.doc_to_choice(self.document(index))))
        if not choices or not all(choice.strip() for choice in choices):
            raise MediaError(f"its choices are {list(choices)}; each needs a text to be compared")
        return choices

    def right_choice(self, index: int, choices: Sequence[str]) -> str:
        """The choice that the task's scorer takes for right, as what a document calls its truth differs by
        task: an index, a letter or a text. Empty where it takes none."""
        for place, choice in enumerate(choices):
            losses = tuple(float(other != place) for other in range(len(choices)))
            try:
                if self._score(self._asked(losses, index), losses).value == 1.0:
                    return choice
            except Exception:
                return ""
        return ""

    def results(self, answer: Answer, index: int) -> Mapping[str, Mapping[str, Any]]:
        """What the task's scorer says of an answer, by filter. Asked once: a judge may be behind it."""
        if (answer, index) not in self._said:
            self._said[answer, index] = self._asked(answer, index)
        return self._said[answer, index]

    def _asked(self, answer: Answer, index: int) -> Mapping[str, Mapping[str, Any]]:
        # A scorer that draws gets a seed that the document alone decides.
        seed = hashlib.sha256(f"{self.spec.name}/{index}".encode()).digest()
        with scoring(self._home, int.from_bytes(seed[:4], "big")):
            strip = their("lmms_eval.api.reasoning").strip_reasoning_tags
            document = self.document(index)
            found = {}
            for ensemble in self._task._filters:
                made = [SimpleNamespace(resps=[one], filtered_resps={}) for one in self._responses(answer)]
                ensemble.apply(made, [document] * len(made))
                filtered = (instance.filtered_resps[ensemble.name] for instance in made)
                given = [strip_all(strip, one, self._task.config) for one in filtered]
                found[ensemble.name] = _undelayed(self._task, "process_results")(document, given)
            return found

    def _responses(self, answer: Answer) -> list[object]:
        """An answer as what lmms-eval's models return: text, or a pair per choice. Of a pair, whether greedy
        decoding gives the choice is not asked: no metric of these tasks takes it."""
        return [self.cut(answer)] if isinstance(answer, str) else [(loss, False) for loss in answer]

    def cut(self, answer: str) -> str:
        """The answer up to the first of the task's stop texts."""
        return cut_at(answer, self._task.config.generation_kwargs or {})

    def score(self, answer: Answer, index: int) -> Score:
        """One answer's score by the first filter. Raises NoSampleScoreError, or what the scorer raises."""
        return self._score(self.results(answer, index), answer)

    def _score(self, by_filter: Mapping[str, Mapping[str, Any]], answer: Answer) -> Score:
        results = next(iter(by_filter.values()))
        text = self.cut(answer) if isinstance(answer, str) else str(likeliest(answer))
        with scoring(self._home, 0):
            aggregations = _with_options_all(self._task.aggregation())
            return score_of(results, self._task.config.score_key, aggregations, text)

    def _aggregations(self) -> dict[str, Aggregation]:
        """The metrics' functions over all results, from files read anew: some count on in a module's
        variable, so that a second call would hold the first one's answers too."""
        with self._at_work():
            config = self._read_config()
        listed = {entry["metric"]: entry.get("aggregation") for entry in config.get("metric_list") or ()}
        own = self._task.aggregation()
        return _with_options_all(
            {metric: listed[metric] if callable(listed.get(metric)) else own[metric] for metric in own}
        )

    def aggregates(self, answers: Iterable[tuple[int, Answer]]) -> dict[str, float | None]:
        """The task's own metrics over all answers, by name; with several filters the filter is part of it.

        None for one that failed, gives no number, or is a submission to a server, which is not made here.
        """
        gathered: dict[tuple[str, str], list[Any]] = {}
        for index, answer in answers:
            for name, results in self.results(answer, index).items():
                for metric, value in results.items():
                    item = with_correct(value) if self.by_likelihood else value
                    gathered.setdefault((metric, name), []).append(item)
        several = len(self._task._filters) > 1
        aggregations = self._aggregations()
        found: dict[str, float | None] = {}
        for (metric, name), items in gathered.items():
            if metric in aggregations:
                label = f"{metric},{name}" if several else metric
                found[label] = None if is_submission(metric) else self._aggregate(aggregations[metric], items)
        return found

    def _aggregate(self, aggregation: Aggregation, items: Sequence[Any]) -> float | None:
        try:
            with scoring(self._home, 0):
                return float(aggregation(items))
        except Exception:
            return None


def _with_options_all(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Aggregation]:
    return {metric: _with_options(function) for metric, function in functions.items()}


def _with_options(function: Callable[..., Any]) -> Aggregation:
    """An aggregation; where it asks for lmms-eval's options it gets a folder for the files that it writes."""
    if "args" not in inspect.signature(function).parameters:
        return function

    def aggregate(items: Sequence[Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="harness-lmms-") as folder:
            return function(items, args=SimpleNamespace(output_path=folder))

    return aggregate


def cut_at(answer: str, generation: Mapping[str, Any]) -> str:
    """An answer up to the first stop text of ``until``."""
    until = generation.get("until") or ()
    for stop in [until] if isinstance(until, str) else until:
        answer = answer.split(stop)[0] if stop else answer
    return answer


def strip_all(strip: Callable[..., str], given: Any, config: Any) -> Any:
    """Answers without their reasoning, as lmms-eval's command line strips it."""
    tags = config.reasoning_tags if config.reasoning_tags is not None else _REASONING_TAGS
    if tags in (False, "none"):
        return given
    if isinstance(given, list):
        return [strip(one, tags) if isinstance(one, str) else one for one in given]
    return strip(given, tags) if isinstance(given, str) else given


def _once(base: Any) -> Any:
    """The task class with a download that is tried once: it has its own message for what is not there."""

    class Once(base):  # type: ignore[misc]
        def download(self, dataset_kwargs: Any = None) -> None:
            _undelayed(self, "download", base)(dataset_kwargs)

    return Once


def _undelayed(task: Any, method: str, cls: Any = None) -> Callable[..., Any]:
    """A method without lmms-eval's retries, which wait for seconds and replace the error by their own."""
    function = getattr(cls if cls is not None else type(task), method)
    return getattr(function, "__wrapped__", function).__get__(task)  # type: ignore[no-any-return]
