"""Properties of what is kept: in a state between chunks, on the method, in its weights."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.layout import FrameSpan
from harness.state import FusionState
from harness.testing import forward
from harness.testing.failures import ViolationError, describe_row, expect_close
from harness.testing.plans import Item, Plan, atoms, chunkings
from harness.testing.subjects import Subject

PRECISIONS = (torch.float64, torch.bfloat16, torch.float16)
FRAMES = 96
"""Frames of the long stream on which memory is declared constant; the first two thirds may fill a memory."""
FRAMES_AT_ONCE = 4


def streaming(subject: Subject, plan: Plan) -> None:
    whole, layout = subject.run([replace(plan, branches=()).sample()])
    spans = atoms(plan.spans())
    kept: dict[str, dict[str, int]] = {}
    for name, ends in chunkings(len(spans), plan.seed).items():
        chunked, state = subject.stream(spans, ends)
        expect_close(chunked, whole, (name, "in one shot"), layout)
        kept[name] = state.bytes_by_kind()
    for (one, a), (other, b) in itertools.pairwise(kept.items()):
        if a != b:
            raise ViolationError(
                f"the state keeps {a} bytes when the stream arrives {one}, but {b} {other}",
                "what is dropped in finish depends on where a chunk ends, not on the stream alone",
            )


def prompt_dependence(subject: Subject, plan: Plan) -> None:
    """The three claims that are not asked of such a method must be false for it."""
    for claim in (streaming, forward.causality, forward.branches):
        try:
            claim(subject, plan)
        except ViolationError:
            continue
        raise ViolationError(f"{claim.__name__} holds all the same")


def forks(subject: Subject, plan: Plan) -> None:
    spans, other = plan.spans(), replace(plan, seed=plan.seed + 1).spans()
    half = len(spans) // 2
    _, undisturbed = subject.stream(spans, [half])
    _, origin = subject.stream(spans, [half])
    before = [tensor.clone() for tensor in _tensors(origin)]
    counted = origin.bytes_by_kind()
    fork, aside = origin.fork(), origin.fork()
    subject.logits(other[half:], aside)
    after = _tensors(origin)
    changed = len(before) != len(after) or not all(map(_same, before, after))
    if changed or origin.bytes_by_kind() != counted:
        raise ViolationError("the origin's tensors changed while its fork went on")
    expected = subject.logits(spans[half:], undisturbed)
    layout = subject.run([replace(plan, branches=()).sample()])[1]
    first = len(layout.rows) - len(expected)
    for name, state in (("in a fork", fork), ("in its origin", origin)):
        found = subject.logits(spans[half:], state)
        expect_close(found, expected, (name, "without a fork"), layout, first=first)


def state_bytes(subject: Subject, plan: Plan) -> None:
    spans = atoms(plan.spans())
    for name, ends in chunkings(len(spans), plan.seed).items():
        state = subject.fusion.new_state()
        for start, end in itertools.pairwise([0, *ends]):
            subject.logits(spans[start:end], state)
            _expect_counted(state, f"after {end} span(s) {name}")


def _expect_counted(state: FusionState, when: str) -> None:
    counted, allocated = sum(state.bytes_by_kind().values()), _storage(state)
    held = sum(tensor.nbytes for tensor in _tensors(state))
    if counted != held:
        raise ViolationError(
            f"{counted} bytes are counted, but the state's tensors have {held} ({when})",
            "a buffer holds rows that begin never described, or describes rows that it does not hold",
        )
    if held != allocated:
        raise ViolationError(
            f"the state's tensors have {held} bytes, but keep {allocated} allocated ({when})",
            "one tensor stands in two places of the state; keep it once" if held > allocated else None,
        )


def frames_freed(subject: Subject, plan: Plan) -> None:
    turn = (Item(True, 2), Item(False, 1))
    text = (Item(False, 1),) * (FRAMES // 3)
    bytes_kept = []
    for items in (text + turn * (FRAMES - FRAMES // 3), turn * FRAMES):
        spans = Plan(plan.seed, items).spans()
        _, state = subject.stream(spans, [*range(0, len(spans), 2 * FRAMES_AT_ONCE), len(spans)])
        bytes_kept.append(_storage(state))
    few, many = bytes_kept
    if many > few:
        raise ViolationError(
            f"a stream of {FRAMES} text tokens keeps {few} bytes with {FRAMES - FRAMES // 3} frames, "
            f"but {many} with {FRAMES}"
        )


def _tensors(state: FusionState) -> list[Tensor]:
    return [tensor for group in state.tensors().values() for tensor in group]


def _storage(state: FusionState) -> int:
    """Bytes that the state's tensors keep allocated."""
    storages = [tensor.untyped_storage() for tensor in _tensors(state)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def precision(subject: Subject, plan: Plan) -> None:
    usual = subject.again(dtype=torch.float32)
    others = {dtype: subject.again(dtype=dtype) for dtype in PRECISIONS}
    for name, ends in chunkings(len(atoms(plan.spans())), plan.seed).items():
        expected = _streamed(usual, plan, ends)
        for dtype, other in others.items():
            if expected is None:
                continue
            logits, state = other.stream(atoms(plan.spans(dtype)), ends)
            wrong = {logits.dtype, *(tensor.dtype for tensor in _tensors(state))} - {dtype}
            if wrong:
                raise ViolationError(f"{dtype} weights and inputs give {wrong.pop()} ({name})")
            broken = torch.isfinite(expected).all(dim=1) & ~torch.isfinite(logits).all(dim=1)
            if bool(broken.any()):
                row = int(broken.nonzero()[0])
                raise ViolationError(
                    f"logits are finite in float32 but not in {dtype} ({name}), row {row}",
                    "a number beyond the range of half precision, such as a mask value of -1e9",
                )


def _streamed(subject: Subject, plan: Plan, ends: Sequence[int]) -> Tensor | None:
    """Logits of a stream in chunks, in the subject's precision; None where the method raises, which the
    property of streaming reports."""
    try:
        return subject.stream(atoms(plan.spans(subject.dtype)), ends)[0]
    except Exception:
        return None


def finite(subject: Subject, plan: Plan) -> None:
    """One by one, since in one pass a row that is NaN makes those before it NaN too."""
    logits = _streamed(subject, plan, range(1, len(atoms(plan.spans())) + 1))
    layout = subject.run([replace(plan, branches=()).sample()])[1]
    if logits is None or bool(torch.isfinite(logits).all()):
        return
    row = int((~torch.isfinite(logits).all(dim=1)).nonzero()[0])
    # What is wrong before the first image has a property of its own.
    if layout.rows.frame[row] >= 0:
        raise ViolationError(f"logits are not finite in {describe_row(layout, row)}")


def hidden_state(subject: Subject, plan: Plan) -> None:
    before = _fingerprint(subject)
    alone, layout = subject.run([plan.sample()])
    streamed = _streamed(subject, plan, range(1, len(atoms(plan.spans())) + 1))
    after = _fingerprint(subject)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise ViolationError(f"{name} is not what it was before a pass")
    again = subject.run([plan.sample()])[0]
    expect_close(again, alone, ("the second time", "the first time"), layout, equal_nan=True)
    if streamed is not None:
        whole = subject.run([replace(plan, branches=()).sample()])[1]
        found = _beside_another(subject, plan)
        expect_close(found, streamed, ("beside another session", "alone"), whole, equal_nan=True)


def _beside_another(subject: Subject, plan: Plan) -> Tensor:
    """Logits of a stream that arrives one by one, by turns with another stream in a session of its own."""
    state, other_state = subject.fusion.new_state(), subject.fusion.new_state()
    others = atoms(replace(plan, seed=plan.seed + 1).spans())
    turns = []
    for span, other in zip(atoms(plan.spans()), others, strict=True):
        turns.append(subject.logits([span], state))
        subject.logits([other], other_state)
    return torch.cat(turns or [subject.logits(())])


def _fingerprint(subject: Subject) -> dict[str, object]:
    """What every attribute of the method and its sub-modules holds, by name."""
    prints: dict[str, object] = {}
    for name, module in subject.fusion.named_modules():
        place = f"self.{name}." if name else "self."
        for key, value in vars(module).items():
            prints[place + key] = _print_of(value, set())
    return prints


def _print_of(value: object, seen: set[int]) -> object:
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return id(value), value.tobytes()
    if isinstance(value, str | int | float | bool | None):
        return value
    if id(value) in seen:
        return id(value)
    seen.add(id(value))
    if isinstance(value, Mapping):
        return id(value), tuple((repr(k), _print_of(v, seen)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return id(value), tuple(_print_of(item, seen) for item in value)
    if isinstance(value, set | frozenset):
        return id(value), frozenset(map(repr, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return id(value), tuple(_print_of(getattr(value, field.name), seen) for field in fields)
    inside = {} if isinstance(value, torch.nn.Module) else getattr(value, "__dict__", {})
    return id(value), _print_of(dict(inside), seen) if inside else None


def inputs(subject: Subject, plan: Plan) -> None:
    sample = plan.sample()
    given = {
        f"{'frame' if isinstance(span, FrameSpan) else 'text'} {number}": _contents(span)
        for number, span in enumerate((*sample.prefix, *sample.branches))
    }
    given.update((f"parameter {name}", parameter) for name, parameter in subject.parameters().items())
    before = {name: tensor.detach().clone() for name, tensor in given.items()}
    subject.run([sample])
    with contextlib.suppress(Exception):  # reported by the property of streaming
        subject.stream(sample.prefix, range(1, len(sample.prefix) + 1))
    changed = [name for name, tensor in given.items() if not _same(tensor, before[name])]
    if changed:
        raise ViolationError(f"a pass changed {', '.join(changed[:5])}")


def _contents(span: object) -> Tensor:
    tensor = span.tokens if isinstance(span, FrameSpan) else getattr(span, "ids", None)
    assert isinstance(tensor, Tensor)
    return tensor


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def save_and_load(subject: Subject, plan: Plan) -> None:
    other = subject.again(seed=1)
    for place, module in subject.modules().items():
        saved = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        try:
            other.modules()[place].load_state_dict(saved)
        except RuntimeError as error:
            raise ViolationError(f"the state of the {place} cannot be loaded: {error}") from error
    expected, layout = subject.run([plan.sample()])
    found, _ = other.run([plan.sample()])
    expect_close(found, expected, ("after loading", "before saving"), layout)
