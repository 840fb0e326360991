"""Running properties on a method: streams, failures and the smallest stream that fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from harness.errors import unknown
from harness.fusion import FusionMethod
from harness.testing.failures import PropertyError, ViolationError
from harness.testing.plans import Plan, random_plan
from harness.testing.properties import PROPERTIES, Property
from harness.testing.subjects import BACKBONES, Subject, Target

STREAMS = 8
_ATTEMPTS = 60
_SEED_STEP = 1000


def check_fusion_method(
    method: str | type[FusionMethod],
    settings: Mapping[str, object] | None = None,
    *,
    properties: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    plan: str | None = None,
    streams: int = STREAMS,
    seed: int = 0,
) -> tuple[str, ...]:
    """Check what holds for every fusion method, in float64 on small random backbones.

    ``method`` is a class, a registered name, or a name with settings as on the command line
    (``casa:gists=4``). ``properties`` and ``backbones`` choose some of ``PROPERTIES`` and ``BACKBONES``; the
    default is all. Random streams follow from ``seed``, ``streams`` of them per property and backbone;
    ``plan`` is one stream in their place, as a failure names it.

    Returns the names of the properties that were checked: some do not apply to every method. Raises
    PropertyError, an AssertionError, for the first property that is broken, with the smallest stream found
    and the names of the others; UsageError for unknown names.
    """
    target = Target.of(method, settings or {})
    wanted = _chosen(properties)
    failures: list[PropertyError] = []
    checked = []
    for item in wanted:
        plans = [Plan.parse(plan)] if plan is not None else _plans(item, streams, seed)
        for backbone in BACKBONES if backbones is None else backbones:
            subject = target.build(backbone)
            if item.unless(subject.fusion) is not None:
                break
            failure = _first_failure(item, subject, plans)
            if failure is not None:
                failures.append(failure)
                break
        else:
            checked.append(item.name)
    if failures:
        failures[0].also = tuple(failure.property for failure in failures[1:])
        raise failures[0]
    return tuple(checked)


def _chosen(names: Sequence[str] | None) -> list[Property]:
    if names is None:
        return list(PROPERTIES.values())
    for name in names:
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
    return [item for name, item in PROPERTIES.items() if name in names]


def _plans(item: Property, streams: int, seed: int) -> list[Plan]:
    if item.plans:
        return [Plan.parse(text) for text in item.plans]
    return [random_plan(_SEED_STEP * seed + n) for n in range(streams)]


def _first_failure(item: Property, subject: Subject, plans: Sequence[Plan]) -> PropertyError | None:
    for plan in plans:
        found = _violation(item, subject, plan)
        if found is not None:
            return _explain(item, subject, plan, found)
    return None


def _violation(item: Property, subject: Subject, plan: Plan) -> ViolationError | None:
    """What a property's check finds on one stream; an exception of the method's is a finding too."""
    try:
        with torch.no_grad():
            item.check(subject, plan)
    except ViolationError as violation:
        return violation
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raised = ViolationError(f"{type(error).__name__}: {first}")
        raised.__cause__ = error
        return raised
    return None


def _explain(item: Property, subject: Subject, plan: Plan, found: ViolationError) -> PropertyError:
    """The failure on the smallest stream that can be found, checked on a fresh method each time."""
    cause = item.cause
    fresh = _violation(item, subject.again(), plan)
    if fresh is None:
        cause = "it does not happen on a fresh method, so something is kept between passes; " + cause
    elif not item.plans:
        plan, found = _shrink(item, subject, plan, fresh)
    failure = PropertyError(
        method=str(subject.target),
        property=item.name,
        statement=item.statement,
        backbone=subject.backbone,
        plan=str(plan),
        found=found.found,
        cause=found.cause or cause,
    )
    failure.__cause__ = found.__cause__
    return failure


def _shrink(
    item: Property, subject: Subject, plan: Plan, found: ViolationError
) -> tuple[Plan, ViolationError]:
    """Leave out one thing after another as long as the property stays broken."""
    attempts = _ATTEMPTS
    candidates = plan.smaller()
    while attempts and (smaller := next(candidates, None)) is not None:
        attempts -= 1
        violation = _violation(item, subject.again(), smaller)
        if violation is not None:
            plan, found = smaller, violation
            candidates = plan.smaller()
    return plan, found
