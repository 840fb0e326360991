"""A grid of scenarios counted one after the other in this process, one record each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from harness import environment, registry
from harness.attention import kernels_of, recording
from harness.collector import frozen
from harness.counting.analytic import TOLERANCE, expected
from harness.counting.building import build, make_shapes
from harness.counting.records import (
    Alive,
    Cost,
    Counted,
    CountKey,
    CountRecord,
    NotCounted,
    Peak,
    Substrate,
)
from harness.counting.scenario import Run, run_scenario
from harness.counting.spec import CountSpec
from harness.errors import HarnessError, UsageError
from harness.lookup import lookup, lookup_backbone
from harness.measure.counted import CountedMemory
from harness.models import full_config
from harness.sites import raising, raising_line
from harness.spec import MethodSpec
from harness.vlm import FusedModel

Progress = Callable[[str], None]
MOST_ALIVE = 12
REAL_PARAMETERS, REAL_TOKENS = 50_000_000, 16_384
"""Up to which a scenario that needs values runs on real tensors."""
MOST_FRAMES, MOST_ROWS = 2**18, 2**24
_WITHOUT_STORAGE = (
    "meta tensor",
    "Meta tensor",
    "meta device",
    "'Meta' backend",
    "register_meta function",
    "data-dependent",
    "data-independent",
)


class NotCountedError(HarnessError):
    """A scenario has no count that could be believed."""


def scenarios(spec: CountSpec) -> list[CountKey]:
    """The grid: resolutions within modes within methods, frames innermost.

    Raises UsageError for an unknown name or setting and for a size that the encoder refuses.
    """
    broken = registry.require(spec.plugins)
    backbone = lookup_backbone(spec.backbone, broken)
    methods = spec.methods or tuple(MethodSpec(name) for name in registry.methods)
    for method in methods:
        lookup(registry.methods, method.name, broken)
    encoder = make_shapes(backbone.encoder)
    for height, width in spec.resolutions:
        encoder.check_size(height, width)
        _check_length(spec, max(spec.frames), encoder.tokens(height, width))
    keys = [
        CountKey(
            mode=mode,
            method=method.name,
            method_config=full_config(method.name, method.config),
            backbone=spec.backbone,
            frames=frames,
            height=height,
            width=width,
            text=spec.text,
            text_per_frame=spec.text_per_frame,
            encode_batch=spec.encode_batch,
            dtype=spec.dtype,
            kernels=spec.kernels,
            optimizer=spec.optimizer if mode == "train" else None,
        )
        for method, mode, (height, width), frames in product(
            methods, spec.modes, spec.resolutions, spec.frames
        )
    ]
    keys = list({key.digest: key for key in keys}.values())
    return keys if spec.kv_tokens is None else [_of_length(key, spec.kv_tokens) for key in keys]


def _check_length(spec: CountSpec, frames: int, tokens: int) -> None:
    """Raise a UsageError for a stream whose layout alone would fill the host: about 100 bytes a token and
    3 KB a frame."""
    rows = frames * (tokens + spec.text_per_frame) + max(spec.text, spec.kv_tokens or 0)
    if frames > MOST_FRAMES or rows > MOST_ROWS:
        raise UsageError(
            f"{frames:,} frames of {tokens:,} tokens with their text are {rows:,} rows; the most that are "
            f"laid out here are {MOST_FRAMES:,} frames and {MOST_ROWS:,} rows"
        )


def _of_length(key: CountKey, kv_tokens: int) -> CountKey:
    """The scenario with as much text that its cache holds so many rows before the next token."""
    least = count_one(key.model_copy(update={"text": 1}))
    if least.peak is None:
        return key
    text = kv_tokens - (least.peak.kv_tokens - 1) + 1
    if text < 1:
        raise UsageError(
            f"kv-tokens {kv_tokens} is too few: {key.method} holds {least.peak.kv_tokens - 1} rows with "
            f"{key.frames} frame(s) and one token of text; give more, or fewer frames"
        )
    return key.model_copy(update={"text": text})


def count(spec: CountSpec, progress: Progress = lambda line: None) -> list[CountRecord]:
    """Count every scenario of a grid. A scenario that cannot be counted is a record that says why.

    ``progress`` hears of each before it is counted.
    """
    return list(count_all(scenarios(spec), progress))


def count_all(keys: Sequence[CountKey], progress: Progress = lambda line: None) -> Iterator[CountRecord]:
    """Count scenarios in order, each with a model of its own, so that the order changes nothing."""
    with frozen():
        for key in keys:
            progress(naming(key))
            yield count_one(key)


def naming(key: CountKey) -> str:
    """A scenario in a few words."""
    return f"{key.method} {key.mode}, {key.frames} frame(s) of {key.height}x{key.width}"


def count_one(key: CountKey, substrate: Substrate = "meta") -> CountRecord:
    """Count one scenario. What needs values runs on real tensors where it is small enough, and says so."""
    started = time.process_time()
    outcome: Counted | NotCounted
    try:
        outcome = Counted(peak=_count(key, substrate, None))
    except (Exception, SystemExit) as error:  # A method that ends the program must not end it well.
        reason = needs_values(error) if substrate == "meta" else None
        outcome = _failed(error) if reason is None else _on_real_tensors(key, reason)
    return CountRecord(
        key=key,
        environment=environment.describe(),
        cpu_seconds=time.process_time() - started,
        outcome=outcome,
    )


def needs_values(error: BaseException) -> str | None:
    """Which operation and line cannot run on tensors without storage; None for any other error."""
    text = str(error)
    if not isinstance(error, RuntimeError | TypeError) or not any(sign in text for sign in _WITHOUT_STORAGE):
        return None
    where, line = raising(error)
    return f"{where} needs the values of a tensor (`{line}`): {text.splitlines()[0][:160]}"


def _on_real_tensors(key: CountKey, reason: str) -> Counted | NotCounted:
    model = build(key, "meta")
    parameters = sum(p.numel() for p in model.parameters())
    tokens = key.frames * model.encoder.tokens(key.height, key.width)
    if parameters > REAL_PARAMETERS or tokens > REAL_TOKENS:
        return NotCounted(
            message=f"{reason}; it can be counted on real tensors only, up to {REAL_PARAMETERS:,} parameters "
            f"and {REAL_TOKENS:,} image tokens, and here are {parameters:,} and {tokens:,}: "
            "write the line so that no shape depends on values, or use --backbone tiny-qwen3 and fewer frames"
        )
    try:
        return Counted(peak=_count(key, "cpu", reason))
    except (Exception, SystemExit) as error:
        return _failed(error)


def _failed(error: BaseException) -> NotCounted:
    first = next(iter(str(error).splitlines()), "").encode(errors="replace").decode()
    if isinstance(error, HarnessError):
        return NotCounted(message=first)
    return NotCounted(
        message=f"{type(error).__name__} at {raising_line(error)}: {first}"[:500],
        traceback="".join(traceback.format_exception(error)).encode(errors="replace").decode(),
    )


def _count(key: CountKey, substrate: Substrate, reason: str | None) -> Peak:
    model = build(key, substrate)
    with kernels_of(key.kernels), recording() as routes:
        run = run_scenario(key, model)
    names = tuple(sorted({route.rpartition(":")[0] for route in routes}))
    if key.kernels == "cuda" and any(name.endswith("/math") for name in names):
        raise NotCountedError(
            "attention takes CUDA's math route, whose scores are quadratic: no fused kernel takes this "
            f"mix of dtype {key.dtype}, mask and grouped heads; use bfloat16, another setting of the method, "
            "or --kernels cuda-math to count it as it is"
        )
    peak = _peak(key, model, run, names, substrate, reason)
    _check_declaration(key, peak)
    return peak


def _peak(
    key: CountKey,
    model: FusedModel,
    run: Run,
    routes: tuple[str, ...],
    substrate: Substrate,
    reason: str | None,
) -> Peak:
    memory, state = run.counter.memory, run.state
    state_bytes = {} if state is None else state.bytes_by_kind()
    origin = memory.peak_origin()
    return Peak(
        peak_bytes=memory.peak_bytes,
        resting_bytes=memory.resting_bytes,
        phase=memory.peak_phase,
        phases=memory.phases,
        at_peak=memory.at_peak(),
        peak_site="" if origin is None else f"{origin.operator} {origin.where}",
        state_bytes=state_bytes,
        kv_tokens=0 if state is None else len(state.text),
        parameters=sum(p.numel() for p in model.parameters()),
        counted=Cost(
            kv_bytes=sum(state_bytes.values()),
            flops=run.counter.operations.total,
            bytes_moved=run.counter.traffic.total,
        ),
        analytic=expected(key, model),
        routes=routes,
        alive=_alive(memory),
        substrate=substrate,
        reason=reason,
    )


def _alive(memory: CountedMemory) -> tuple[Alive, ...]:
    """The largest groups of storages at the peak that one line made."""
    groups: dict[tuple[str, str, str], list[tuple[int, tuple[int, ...], str]]] = {}
    for live in memory.live_at_peak():
        place = (live.kind, live.origin.operator, live.origin.where)
        groups.setdefault(place, []).append((live.size, live.origin.shape, live.origin.dtype))
    found = []
    for (kind, operator, where), members in groups.items():
        _, shape, dtype = max(members)
        total = sum(size for size, _, _ in members)
        found.append(
            Alive(
                bytes=total,
                count=len(members),
                kind=kind,
                operator=operator,
                where=where,
                shape=shape,
                dtype=dtype,
            )
        )
    return tuple(sorted(found, key=lambda alive: -alive.bytes)[:MOST_ALIVE])


def _check_declaration(key: CountKey, peak: Peak) -> None:
    if peak.analytic is None or key.mode == "train":
        return
    declared, counted = peak.analytic.kv_bytes, peak.counted.kv_bytes
    if abs(counted - declared) > TOLERANCE * max(declared, 1):
        raise NotCountedError(
            f"{key.method} keeps {counted:,} bytes of keys and values where its declaration says "
            f"{declared:,} (more than {TOLERANCE:.0%} apart): the cache holds what it should not, or "
            "keeps() is wrong; state by kind: "
            + ", ".join(f"{kind} {size:,}" for kind, size in peak.state_bytes.items())
        )
