"""Properties of one pass over a batch."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from harness.attention import using
from harness.layout import FrameSpan, Kind, Layout, PackedSample, Span, TextSpan
from harness.testing.failures import (
    TOLERANCE,
    ViolationError,
    describe_row,
    expect_close,
)
from harness.testing.plans import Plan, atoms, frame_tokens
from harness.testing.subjects import Subject

GRADIENT_TOLERANCE = 1e-6
"""Largest relative difference of gradients between the fast path and the reference."""


def runs(subject: Subject, plan: Plan) -> None:
    # In torch's usual precision: another property says what is wrong with the others.
    usual = subject.again(dtype=torch.float32)
    samples = plan.batch(torch.float32)
    logits, layout = usual.run(samples)
    texts = int((layout.rows.kind == Kind.TEXT).sum())
    spans = [span for sample in samples for span in (*sample.prefix, *sample.branches)]
    expected = sum(len(span.ids) for span in spans if isinstance(span, TextSpan))
    if texts != expected:
        raise ViolationError(f"{texts} text rows are laid out for {expected} text tokens")
    if len(logits) != len(layout.rows):
        raise ViolationError(
            f"{len(logits)} rows come out of the layers for {len(layout.rows)} rows laid out"
        )


def text_before_images(subject: Subject, plan: Plan) -> None:
    change, layout = _change_with_images(subject, plan)
    rows = layout.rows
    for row in ((rows.kind == Kind.TEXT) & (rows.frame == -1)).nonzero()[0].tolist():
        amount = float(change[row])
        if not amount <= TOLERANCE:
            how = "are NaN" if math.isnan(amount) else f"change by {amount:.1e}"
            raise ViolationError(f"logits {how} in {describe_row(layout, row)} when later images change")


def text_after_images(subject: Subject, plan: Plan) -> None:
    change, layout = _change_with_images(subject, plan)
    rows = layout.rows
    for row in ((rows.kind == Kind.TEXT) & (rows.frame >= 0)).nonzero()[0].tolist():
        if float(change[row]) <= 0:
            raise ViolationError(
                f"logits do not change in {describe_row(layout, row)} when all images change"
            )


def _change_with_images(subject: Subject, plan: Plan) -> tuple[Tensor, Layout]:
    """How much every row's logits change [R] when every image's contents change."""
    generator = torch.Generator().manual_seed(plan.seed + 99)

    def other(span: Span) -> Span:
        if not isinstance(span, FrameSpan):
            return span
        return replace(span, tokens=frame_tokens(generator, len(span.tokens)).to(span.tokens))

    sample = plan.sample()
    before, layout = subject.run([sample])
    after, _ = subject.run([replace(sample, prefix=tuple(map(other, sample.prefix)))])
    return (after - before).abs().amax(dim=1), layout


def short_streams(subject: Subject, plan: Plan) -> None:
    subject.run([plan.sample()])


def causality(subject: Subject, plan: Plan) -> None:
    spans = atoms(plan.spans())
    after, layout = subject.run([PackedSample(tuple(spans))])
    for count in range(1, len(spans)):
        before = subject.logits(spans[:count])
        more = f"with {len(spans) - count} more span(s) after it"
        expect_close(after[: len(before)], before, (more, "without"), layout, equal_nan=True)


def batch(subject: Subject, plan: Plan) -> None:
    samples = plan.batch()
    together, layout = subject.run(samples)
    alone = torch.cat([subject.run([sample])[0] for sample in samples])
    expect_close(together, alone, ("in the batch", "alone"), layout)


def branches(subject: Subject, plan: Plan) -> None:
    spans, questions = plan.spans(), plan.questions()
    together, layout = subject.run([plan.sample()])
    alone = [subject.logits(spans)]
    alone.extend(subject.logits((*spans, question))[len(alone[0]) :] for question in questions)
    expect_close(together, torch.cat(alone), ("beside other branches", "asked alone"), layout)


def reference(subject: Subject, plan: Plan) -> None:
    fast, layout = _with_gradients(subject, plan)
    with using("reference"):
        dense, _ = _with_gradients(subject, plan)
    names = ("on the fast path", "with a dense mask")
    expect_close(fast["logits"], dense["logits"], names, layout)
    for name in fast:
        apart = float((fast[name] - dense[name]).abs().max()) if fast[name].numel() else 0.0
        largest = float(dense[name].abs().max()) if fast[name].numel() else 0.0
        if not apart <= TOLERANCE + GRADIENT_TOLERANCE * largest:
            raise ViolationError(
                f"the gradient of {name} differs by {apart:.1e} between the fast path and a dense mask; "
                f"its largest value is {largest:.1e}"
            )


def _with_gradients(subject: Subject, plan: Plan) -> tuple[dict[str, Tensor], Layout]:
    """Logits and the gradients of their mean square, by parameter."""
    parameters = subject.parameters()
    with torch.enable_grad():
        logits, layout = subject.run(plan.batch())
        loss = logits.square().mean()
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }
    return {"logits": logits.detach(), **gradients}, layout


def gradients(subject: Subject, plan: Plan) -> None:
    found, _ = _with_gradients(subject, plan)
    wanted = {name for name, p in subject.parameters().items() if p.requires_grad and p.numel()}
    silent = sorted(name for name in wanted if not float(found[name].abs().sum()) > 0)
    if silent:
        raise ViolationError(f"no gradient reaches {', '.join(silent[:5])}" + (" ..." if silent[5:] else ""))
