"""What a comparison of two sides finds: answers, bytes and times, place by place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import ndtri

from harness.compare.interleaved import TimeRatio
from harness.compare.places import Place
from harness.compare.sides import Side
from harness.left_out import LEVEL, LeftOut
from harness.stats.paired import PairedDifference
from harness.stats.seeds import SeedSpread
from harness.store import Problem

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Accuracies in 0..1 over the questions that every model of both sides was scored on.

    ``difference`` is first less second. ``adjusted_p`` is Holm's, over everything that is compared in one go.
    ``seeds_apart`` says that every model of the better side is above every model of the other. Where an order
    over all kinds is claimed, ``without`` has the same with each kind left out, the better side first.
    """

    kind: str | None
    """Kind of question; None for all kinds together."""
    first: float
    second: float
    models: tuple[int, int]
    difference: PairedDifference
    adjusted_p: float
    seeds_apart: bool
    seed_spread: SeedSpread | None
    equal: bool
    """Whether every question has the same score on both sides: no difference, and not one that is small."""
    without: tuple[LeftOut, ...] = ()

    @property
    def borne(self) -> bool:
        """Whether to claim an order: two models or more on both sides, seeds apart, and p below 5 %."""
        return min(self.models) > 1 and self.seeds_apart and self.adjusted_p < LEVEL

    @property
    def questions_needed(self) -> int | None:
        """About how many questions would tell a difference of this size at 5 % in 80 % of cases.

        None where there is no difference to tell, where the interval has no width to scale, or where as many
        were asked: then clips or models are too few.
        """
        spread = (self.difference.high - self.difference.low) / (2 * float(ndtri(1 - LEVEL / 2)))
        if self.difference.mean == 0 or spread == 0:
            return None
        wanted = (float(ndtri(1 - LEVEL / 2)) + float(ndtri(POWER))) * spread / abs(self.difference.mean)
        needed = math.ceil(self.difference.questions * wanted**2)
        return needed if needed > self.difference.questions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """Medians over models, in bytes. Counts are deterministic: there is no test, the difference is real."""

    first: int
    second: int

    @property
    def difference(self) -> int:
        return self.first - self.second

    @property
    def ratio(self) -> float | None:
        """First over second; None where the second is 0."""
        return self.first / self.second if self.second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Median and quartiles in milliseconds over all samples of all models, each side measured on its own.

    What slowed the machine down for one side only is in them, so no ratio is made of them.
    """

    first: tuple[float, float, float]
    second: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceResult:
    """Everything that is compared at one place; no data is None, and ``answers`` is empty then."""

    place: Place
    setting: dict[str, str]
    answers: tuple[Answers, ...]
    peak: Bytes | None
    state: Bytes | None
    times: dict[str, Times]
    same_machine: bool
    random_weights: bool

    def where(self, among: Iterable[PlaceResult]) -> str:
        """The task, with the fields that tell this setting from others at the same place."""
        others = [one.setting for one in among if one.place == self.place]
        fields = [
            f"{name} {json.loads(value)}"
            for name, value in self.setting.items()
            if any(other[name] != value for other in others)
        ]
        return f"{self.place.task} ({', '.join(fields)})" if fields else self.place.task

    @property
    def overall(self) -> Answers | None:
        return next((one for one in self.answers if one.kind is None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """Two sides at every place that both have; ``refused`` says in words what could not be compared.

    ``problems`` are files with answers that cannot be read.
    """

    first: Side
    second: Side
    places: tuple[PlaceResult, ...]
    refused: tuple[str, ...]
    problems: tuple[Problem, ...]
    interleaved: tuple[TimeRatio, ...]
    """Empty where the two were not timed in turns."""
