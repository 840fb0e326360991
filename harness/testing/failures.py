"""How a property check fails: which property, how far apart, where, and what usually causes it."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.layout import Kind, Layout

TOLERANCE = 1e-9
"""Largest difference of logits in float64 that counts as equal."""
_SINGLE = 1e-5

IN_SINGLE_PRECISION = (
    "the difference is of the size of float32's rounding: something is computed in a hard-coded float32; "
    "take the dtype of the inputs"
)


class ViolationError(Exception):
    """What a check found, before it is known to which method and stream it belongs."""

    def __init__(self, found: str, cause: str | None = None) -> None:
        super().__init__(found)
        self.found, self.cause = found, cause


class PropertyError(AssertionError):
    """A fusion method breaks a property. ``also`` names the other properties that it breaks."""

    def __init__(
        self,
        *,
        method: str,
        property: str,
        statement: str,
        backbone: str,
        plan: str,
        found: str,
        cause: str,
        also: tuple[str, ...] = (),
    ) -> None:
        self.method, self.property, self.backbone, self.plan = method, property, backbone, plan
        self.statement, self.found, self.cause = statement, found, cause
        self.also = also
        super().__init__(found)

    def __str__(self) -> str:
        lines = [
            f"method {self.method} breaks {self.property!r}: {self.statement}",
            f"  found: {self.found}",
            f"  stream: {self.plan!r} on backbone {self.backbone!r}",
            f"  likely cause: {self.cause}",
            f"  again: check_fusion_method(..., properties=[{self.property!r}], "
            f"backbones=[{self.backbone!r}], plan={self.plan!r})",
        ]
        if self.also:
            lines.append(f"  also broken: {', '.join(self.also)}")
        return "\n".join(lines)


def describe_row(layout: Layout, row: int) -> str:
    rows = layout.rows
    kind = Kind(int(rows.kind[row])).name.lower()
    place = f"window {rows.window[row]}, frame {rows.frame[row]}"
    branch = f", branch {rows.branch[row]}" if rows.branch[row] else ""
    sample = f", sample {rows.sample[row]}" if rows.sample.any() else ""
    return f"row {row} of {len(rows)} ({kind}, {place}{branch}{sample})"


def expect_close(
    found: Tensor,
    expected: Tensor,
    names: tuple[str, str],
    layout: Layout,
    *,
    first: int = 0,
    equal_nan: bool = False,
) -> None:
    """Raise a ViolationError where logits [R, V] differ; row 0 of both is row ``first`` of the layout."""
    if found.shape != expected.shape:
        raise ViolationError(
            f"{len(found)} rows {names[0]}, but {len(expected)} rows {names[1]}",
            "lay_out makes other rows of the same spans when they come otherwise; it may depend on the "
            "spans and the cursor only",
        )
    if not found.numel():
        return
    apart = (found - expected).abs().nan_to_num(nan=torch.inf)
    if equal_nan:
        apart = apart.masked_fill(found.isnan() & expected.isnan(), 0.0)
    worst = float(apart.max())
    if worst <= TOLERANCE:
        return
    row, column = divmod(int(apart.argmax()), found.shape[1])
    both = f"{float(found[row, column]):.9g} {names[0]}, {float(expected[row, column]):.9g} {names[1]}"
    where = describe_row(layout, first + row)
    raise ViolationError(
        f"logits differ by {worst:.1e} (allowed {TOLERANCE:.0e}) in {where}: {both}",
        IN_SINGLE_PRECISION if worst < _SINGLE else None,
    )
