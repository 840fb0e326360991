"""Running properties on a method: streams, failures and the smallest stream that fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from harness.errors import unknown
from harness.fusion import FusionMethod
from harness.testing.failures import PropertyError, ViolationError
from harness.testing.plans import Plan, random_plan
from harness.testing.properties import PROPERTIES, Property
from harness.testing.subjects import BACKBONES, Subject, Target

STREAMS = 8
TYPICAL = ("0: t2 f4 t1 f3 f2= t2 f5 t1 | t3 t2", "1: f2 f3 t2 f1 | t1")
"""The first streams; random ones follow."""
_ATTEMPTS = 60
RAISED = "the method itself fails on this stream; the traceback of the error that caused this one says where"
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
    default is all. Each property is checked on ``streams`` streams per backbone, two typical ones and random
    ones that follow from ``seed``; ``plan`` is one stream in their place, as a failure names it.

    Returns the names of the properties that were checked: some do not apply to every method. Raises
    PropertyError, an AssertionError, for the first property that is broken, with the smallest stream found
    and the names of the others; UsageError for unknown names.
    """
    target = Target.of(method, settings or {})
    checked, broken = [], []
    for item in _chosen(properties):
        plans = [Plan.parse(plan)] if plan is not None else _plans(item, streams, seed)
        subjects = [target.build(backbone) for backbone in (BACKBONES if backbones is None else backbones)]
        if any(item.unless(subject.fusion) is not None for subject in subjects):
            continue
        checked.append(item.name)
        finding = next(filter(None, (_find(item, subject, plans) for subject in subjects)), None)
        if finding is not None:
            broken.append(finding)
    if broken:
        also = tuple(finding.item.name for finding in broken[1:])
        raise _explain(broken[0], also) from broken[0].violation.__cause__
    return tuple(checked)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A property that is broken on a stream."""

    item: Property
    subject: Subject
    plan: Plan
    violation: ViolationError


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
    drawn = [random_plan(_SEED_STEP * seed + n) for n in range(len(TYPICAL), streams)]
    return [*map(Plan.parse, TYPICAL[:streams]), *drawn]


def _find(item: Property, subject: Subject, plans: Sequence[Plan]) -> _Finding | None:
    """The first stream on which a property is broken."""
    for plan in plans:
        violation = _violation(item, subject, plan)
        if violation is not None:
            return _Finding(item, subject, plan, violation)
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
        raised = ViolationError(f"{type(error).__name__}: {first}", RAISED)
        raised.__cause__ = error
        return raised
    return None


def _explain(finding: _Finding, also: tuple[str, ...]) -> PropertyError:
    """The failure on the smallest stream that can be found."""
    item, subject, violation = finding.item, finding.subject, finding.violation
    cause = item.cause
    if _violation(item, subject.again(), finding.plan) is None:
        cause = f"on a fresh method it does not happen, so something is kept between passes; or {cause}"
    elif not item.plans:
        finding = _shrink(finding)
        violation = finding.violation
    return PropertyError(
        method=str(subject.target),
        property=item.name,
        statement=item.statement,
        backbone=subject.backbone,
        plan=str(finding.plan),
        found=violation.found,
        cause=violation.cause or cause,
        also=also,
    )


def _shrink(finding: _Finding) -> _Finding:
    """Leave out one thing after another as long as the property stays broken on a fresh method."""
    candidates = finding.plan.smaller()
    for _ in range(_ATTEMPTS):
        smaller = next(candidates, None)
        if smaller is None:
            break
        violation = _violation(finding.item, finding.subject.again(), smaller)
        if violation is not None:
            finding = replace(finding, plan=smaller, violation=violation)
            candidates = smaller.smaller()
    return finding
