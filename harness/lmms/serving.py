"""A fused model that answers lmms-eval's requests, with what their log is to say of it."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import registry
from harness.errors import UsageError
from harness.lmms.leaf import DEFAULT_NEW_TOKENS, cut_at
from harness.lmms.visuals import Part, prompt_of
from harness.lookup import require_device
from harness.measure.memory import count_prefill
from harness.measure.views import encode
from harness.measure.workload import Workload, synchronize
from harness.models import build_model, find_weights, full_config, load_model, read_config
from harness.published_models.names import is_published
from harness.session import Session
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, check_choice, check_numbers, parse_resolutions
from harness.stream import Stream
from harness.task import Question, Sample, View
from harness.vlm import FusedModel


@dataclass(frozen=True, kw_only=True)
class ModelArgs:
    """What ``--model_args`` takes. ``method`` is a name with settings as in ``harness eval`` (its shipped
    model, or the one that ``checkpoint`` holds); ``checkpoint`` is a model's folder or one with several."""

    method: str = ""
    checkpoint: str = ""
    backbone: str = DEFAULT_BACKBONE
    seed: int = 0
    weights: str = "trained"
    frames: int = 8
    resolution: str = "64"
    view_seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    batch_size: int = 1

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> ModelArgs:
        """From lmms-eval's values, which are numbers where they look like numbers. Raises UsageError."""
        known = {one.name: one for one in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
                raise UsageError(f"unknown model argument {name!r}: {hint}")
            try:
                values[name] = int(str(value)) if known[name].type == "int" else str(value)
            except ValueError:
                raise UsageError(f"model argument {name}={value!r} is not a whole number") from None
        parsed = cls(**values)
        for name, least in (("frames", 1), ("threads", 1), ("batch_size", 1), ("seed", 0), ("view_seed", 0)):
            check_numbers(name, (getattr(parsed, name),), least)
        check_numbers("resolution", _size(parsed.resolution), 1)
        check_choice("dtype", parsed.dtype, DType.__args__)  # type: ignore[attr-defined]
        check_choice("weights", parsed.weights, ("trained", "random"))
        return parsed

    @property
    def view(self) -> View:
        height, width = _size(self.resolution)
        return View(frames=self.frames, height=height, width=width, seed=self.view_seed)

    def load(self) -> FusedModel:
        """The model, in evaluation mode. Raises UsageError or InfrastructureError."""
        registry.discover()
        require_device(self.device)
        dtype: torch.dtype = getattr(torch, self.dtype)
        folder = Path(self.checkpoint) if self.checkpoint else None
        if folder is not None and is_published(self.checkpoint):
            raise UsageError(
                f"checkpoint={self.checkpoint!r} is a published model, not one of the harness's: lmms-eval "
                f"has a model of its own for it, and `harness eval --backbone {self.checkpoint}` measures it"
            )
        if folder is not None and (folder / "config.json").is_file():
            found = read_config(folder)
            if self.method and (found.method, found.method_config) != self._method():
                raise UsageError(
                    f"{folder} is a model of {found.method}, not of {self.method}; leave method out"
                )
            return load_model(folder, device=self.device, dtype=dtype)
        if not self.method:
            raise UsageError("no model is named; give method=NAME, or checkpoint=DIR with a model's folder")
        method, settings = self._method()
        if self.weights == "random":
            return build_model(method, settings, self.backbone, self.seed, device=self.device, dtype=dtype)
        search = () if folder is None else (folder,)
        path = find_weights(method, settings, self.backbone, self.seed, search)
        if path is None:
            raise UsageError(
                f"no trained weights for {self.method} on {self.backbone}, seed {self.seed}; train them with "
                "`harness train` and give checkpoint=DIR, or weights=random"
            )
        return load_model(path, device=self.device, dtype=dtype)

    def _method(self) -> tuple[str, dict[str, Any]]:
        spec = MethodSpec.parse(self.method)
        return spec.name, full_config(spec.name, spec.config)


def _size(resolution: str) -> tuple[int, int]:
    """Height and width in pixels."""
    sizes = parse_resolutions([resolution])
    if len(sizes) != 1:
        raise UsageError(
            f"resolution={resolution!r} is {len(sizes)} resolutions; give one, such as 64 or 48x64"
        )
    return sizes[0]


@dataclass
class Served:
    """What has been answered so far, for the log of throughput and memory."""

    elapsed_s: float = 0.0
    tokens: int = 0
    requests: int = 0
    frames: int = 0
    heaviest: tuple[Sample, Tensor] | None = field(default=None, repr=False)


class Server:
    """Answers documents one after the other, greedily, with the frames that the harness would show."""

    def __init__(self, args: ModelArgs) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("the harness's models run in one process; start lmms-eval without a launcher")
        torch.set_num_threads(args.threads)
        self.args, self.view = args, args.view
        self.model = args.load()

    def sample(self, key: str, parts: Sequence[Part], new_tokens: int) -> Sample:
        """A document, called TASK/INDEX, as the harness's own loop would have it."""
        shown = prompt_of(parts, key.rpartition("/")[2], self.view)
        question = Question(
            id=key, kind=key, prompt=shown.question, answer="", chance=None, max_new_tokens=new_tokens
        )
        return Sample(
            id=key, stream=Stream(shown.items), questions=(question,), group=key, media=dict(shown.media)
        )

    def features(self, sample: Sample) -> Tensor:
        """[F, N, D] on the model's device."""
        frames = sample.stream.frames
        if not frames:
            return torch.zeros(0, 0, 0)
        return encode(self.model, frames, self.args.device).to(self.args.device)

    def answer(
        self, documents: Sequence[tuple[str, Sequence[Part], Mapping[str, Any]]], tick: Callable[[], None]
    ) -> tuple[list[str], Served]:
        """The answers to (name, parts, generation settings), cut at their stop texts, and what they took."""
        served, answers = Served(), []
        device = torch.device(self.args.device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for key, parts, generation in documents:
            new_tokens = int(generation.get("max_new_tokens") or DEFAULT_NEW_TOKENS)
            sample = self.sample(key, parts, new_tokens)
            features = self.features(sample)
            synchronize(device)
            begin = time.perf_counter()
            ((text,),) = self.model.answer([sample], [features])
            synchronize(device)
            served.elapsed_s += time.perf_counter() - begin
            served.tokens += len(self.model.token_ids(text)) if text else 0
            served.requests += 1
            served.frames += len(features)
            if served.heaviest is None or len(features) > len(served.heaviest[1]):
                served.heaviest = (sample, features)
            answers.append(cut_at(text, generation))
            tick()
        return answers, served

    @torch.inference_mode()
    def peak_bytes(self, served: Served) -> int | None:
        """Peak bytes: the allocator's on CUDA; elsewhere counted, for a prefill of the most frames served."""
        device = torch.device(self.args.device)
        if device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(device))
        if served.heaviest is None:
            return None
        sample, features = served.heaviest
        workload = Workload(
            model=self.model,
            stream=sample.stream,
            features=features,
            question=sample.questions[0].prompt,
        )
        return int(count_prefill(workload).peak_bytes)

    def asked(self, key: str, parts: Sequence[Part]) -> Session:
        """A session that holds a document and its question."""
        sample = self.sample(key, parts, 1)
        session = self.model.session()
        session.append_stream(sample.stream, self.features(sample), sample.questions[0].prompt)
        return session
