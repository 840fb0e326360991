"""A method's memory order as a test: ``assert_memory_order("casa", mode="stream")``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness import registry
from harness.counting.records import CountRecord, Kernels, Mode
from harness.counting.spec import CountSpec, check_ascending
from harness.errors import UsageError
from harness.fusion import FusionMethod
from harness.gate.config import LEAST_SIZES, GateConfig, Tolerance, declaration_name
from harness.gate.order_rule import order_checks
from harness.gate.run import Count, shipped_count
from harness.scaling import AXES, Axis, Growth, growths
from harness.settings import changed
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, check_choice, check_numbers
from harness.testing.subjects import Target
from harness.units import exact_bytes

SIZES: dict[Axis, tuple[int, ...]] = {"frames": (8, 16, 32, 64), "pixels": (32, 64, 128)}
_SHOWN_ALIVE = 4


def assert_memory_order(
    method: str | type[FusionMethod],
    *,
    backbone: str = DEFAULT_BACKBONE,
    mode: Mode = "prefill",
    axis: Axis = "frames",
    sizes: Sequence[int] | None = None,
    declared: float | None = None,
    tolerance: float = Tolerance().order,
    frames: int = 4,
    resolution: int = 64,
    text: int = CountSpec.text,
    dtype: DType = "bfloat16",
    kernels: Kernels = "cuda",
    count: Count | None = None,
    **settings: object,
) -> Growth:
    """Count a method's peaks and check that they grow no faster than it declares. Needs no GPU.

    ``method`` is a class, a registered name, or a name with settings as on the command line; ``settings`` are
    the method's own. ``sizes`` are numbers of frames at ``resolution``, or, with ``axis="pixels"``, heights
    of square frames of which there are ``frames``. ``declared`` takes the place of the class's declaration.

    Returns the growth, whose ``law`` says it in words. Raises AssertionError with the order, the bytes at
    each size and the tensors that grew; UsageError for what cannot be counted.
    """
    check_choice("axis", axis, AXES)
    target = Target.of(method, settings)
    chosen = tuple(SIZES[axis] if sizes is None else sizes)
    check_numbers("sizes", chosen, 1)
    check_ascending("sizes", chosen)
    if len(chosen) < LEAST_SIZES:
        raise UsageError(f"sizes {','.join(map(str, chosen))} are too few for an order; give at least 3")
    with _registered(target):
        spec = CountSpec(
            methods=(MethodSpec(target.name, changed(target.config)),),
            backbone=backbone,
            modes=(mode,),
            frames=chosen if axis == "frames" else (frames,),
            resolutions=tuple((size, size) for size in chosen) if axis == "pixels" else ((resolution,) * 2,),
            text=text,
            dtype=dtype,
            kernels=kernels,
        )
        records = (shipped_count() if count is None else count)(spec, lambda line: None)
    return _judge(target, records, mode, axis, declared, tolerance)


@contextmanager
def _registered(target: Target) -> Iterator[None]:
    """A class that is not registered is known by its name while it is counted."""
    registry.discover()
    if target.name in registry.methods:
        if registry.methods.get(target.name) is not target.cls:
            raise UsageError(
                f"{target.cls!r} has the name {target.name!r} of another method; give it a name of its own"
            )
        yield
        return
    known = list(registry.methods)
    registry.register_method(target.name)(target.cls)
    try:
        yield
    finally:
        registry.methods.keep(known)


def _judge(
    target: Target,
    records: Sequence[CountRecord],
    mode: Mode,
    axis: Axis,
    declared: float | None,
    tolerance: float,
) -> Growth:
    for record in records:
        if record.outcome.kind == "failed":
            raise AssertionError(f"{target} could not be counted in {mode}: {record.outcome.message}")
    limit = getattr(target.cls.memory, declaration_name(mode, axis)) if declared is None else declared
    config = GateConfig(axes=(axis,), tolerance=Tolerance(order=tolerance))
    (growth,) = growths(records, (axis,))
    (check,) = order_checks([growth], lambda *_: limit, config)
    if check.failed:
        lines = [f"{target} in {mode}: {check.message}"]
        lines += [f"  {exact_bytes(point.peak_bytes)} at {point.size} {axis}" for point in growth.points]
        lines += [f"  alive at the peak: {culprit}" for culprit in check.culprits[:_SHOWN_ALIVE]]
        raise AssertionError("\n".join(lines))
    return growth
