"""The harness's models as lmms-eval's: ``lmms-eval --model fusion_harness --model_args method=casa``.

Only lmms-eval imports this. Both classes answer ``generate_until`` and ``loglikelihood``; the chat class
takes a document's messages with the text where it stands, the simple one its images and then its text.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from harness.errors import UsageError
from harness.likelihood import continuation_loss
from harness.lmms.serving import ModelArgs, Served, Server
from harness.lmms.visuals import Part, parts_of_messages, parts_of_visuals
from harness.session import Session

_IGNORED = ("max_batch_size",)


class FusionHarness(lmms):  # type: ignore[misc]
    """The chat model; arguments are those of :class:`harness.lmms.serving.ModelArgs`."""

    is_simple = False

    def __init__(self, **given: Any) -> None:
        super().__init__()
        args = ModelArgs.parse({name: value for name, value in given.items() if name not in _IGNORED})
        self.server = Server(args)
        self.device = torch.device(args.device)
        self.batch_size = args.batch_size

    @property
    def model(self) -> torch.nn.Module:
        return self.server.model

    def generate_until(self, requests: Sequence[Any]) -> list[Any]:
        """Greedy answers; sampling settings of a task are not followed."""
        documents = [
            (f"{task}/{index}", self._parts(request, task, split, index), self._generation(request))
            for request in requests
            for index, task, split in [request.args[-3:]]
        ]
        with tqdm(total=len(documents), desc="fusion_harness") as bar:
            answers, served = self.server.answer(documents, bar.update)
        self._log(served)
        return [
            GenerationResult(text=text, token_counts=TokenCounts(output_tokens=self._tokens(text)))
            for text in answers
        ]

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """(mean loss per token in nats, whether greedy): the smaller the likelier.

        The class that this overrides speaks of a log-probability, but the scorers of lmms-eval take the
        smallest value for the likeliest choice, as its own models give it. A pair is handed over inside a
        ``GenerationResult``: the evaluator turns every other pair into text, which no scorer can read.
        Requests about one document and context share their prefill where they follow each other.
        """
        answers = []
        with tqdm(total=len(requests), desc="fusion_harness") as bar:
            for _, group in itertools.groupby(requests, key=_asked_about):
                same = list(group)
                session = self._session(same[0])
                for request in same:
                    found = continuation_loss(session, self._continuation(request))
                    answers.append(GenerationResult(text=found))
                    bar.update()
        return answers

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        raise UsageError("fusion_harness answers in one round; leave out tasks of several (multi_round)")

    def clean(self) -> None:
        """Free caches, and keep the model: the class that this overrides takes its modules away."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _document(self, task: str, split: str, index: int) -> Any:
        return self.task_dict[task][split][index]

    def _parts(self, request: Any, task: str, split: str, index: int) -> Sequence[Part]:
        _, to_messages, *_ = request.args
        return parts_of_messages(to_messages(self._document(task, split, index)))

    def _generation(self, request: Any) -> dict[str, Any]:
        return dict(next(argument for argument in request.args[1:3] if isinstance(argument, dict)))

    def _session(self, request: Any) -> Session:
        """Holds what a request for a likelihood continues."""
        if len(request.args) == 2:
            return self.server.asked("no document", [request.args[0]])
        context, _, to_visual, index, task, split = request.args
        visuals = to_visual(self._document(task, split, index)) if to_visual else None
        return self.server.asked(f"{task}/{index}", parts_of_visuals(visuals, context))

    def _continuation(self, request: Any) -> str:
        target = request.args[1]
        if not callable(target):
            return str(target)
        index, task, split = request.args[-3:]
        return str(target(self._document(task, split, index)))

    def _tokens(self, text: str) -> int:
        return len(self.server.model.token_ids(text)) if text else 0

    def _log(self, served: Served) -> None:
        """Throughput and peak memory, which lmms-eval puts into its results."""
        more: dict[str, float] = {"total_requests": served.requests}
        peak = self.server.peak_bytes(served)
        if peak is not None:
            more["peak_memory_bytes"] = peak
        if served.requests:
            more["frames_per_request"] = served.frames / served.requests
        speed = served.tokens / served.elapsed_s if served.elapsed_s else 0.0
        log_metrics(served.elapsed_s, served.tokens, speed, more)


class FusionHarnessSimple(FusionHarness):
    """The simple model (``--force_simple``)."""

    is_simple = True

    def _parts(self, request: Any, task: str, split: str, index: int) -> Sequence[Part]:
        context, _, to_visual, *_ = request.args
        visuals: Iterable[Any] | None = to_visual(self._document(task, split, index)) if to_visual else None
        return parts_of_visuals(list(visuals) if visuals is not None else None, context)


def _asked_about(request: Any) -> tuple[Any, ...]:
    """A request's context, and its document where it has one."""
    return request.args[0], *request.args[3:]
