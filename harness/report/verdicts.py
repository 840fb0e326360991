"""Who is the most accurate among some methods, who cannot be told from the best, and what a lead rests on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.left_out import LeftOut
from harness.report.comparisons import Comparison
from harness.report.points import numeric, rows_of
from harness.report.style import REFERENCES
from harness.report.text import interval, known, listed, numbered, share, some

LAST_FRAME = "oracle_last_frame"
MOST_OF_IT = 0.5
"""An oracle of the last frame that answers more than this share knows most of what is asked: whoever is below
it may have learned much."""
LITTLE = 0.1
"""Less than this share of the way from the best oracle to 1 is next to nothing learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A method's accuracy at the place where methods are compared.

    ``low`` and ``high`` are its 95 % interval over samples, ``least`` and ``most`` its range over models.
    """

    mean: float
    low: float
    high: float
    models: int
    least: float
    most: float

    def __str__(self) -> str:
        seeds = f", seeds {share(self.least)} to {share(self.most)}" if self.models > 1 else ""
        return f"{share(self.mean)} {interval(self.low, self.high)}{seeds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What is reached without looking at what was asked for: by chance, or by an oracle that sees less."""

    name: str
    value: float

    def __str__(self) -> str:
        return f"{'' if self.name == 'chance' else 'the '}{self.name} {share(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A kind of question without which a leader's orders fall: ``lost`` by the label that was behind.

    ``ahead`` are those of them that have the higher accuracy without it, the highest first.
    """

    kind: str
    asked: int
    remaining: int
    leader: str
    lost: Mapping[str, LeftOut]

    @property
    def ahead(self) -> list[str]:
        turned = [label for label, one in self.lost.items() if one.turned]
        return sorted(turned, key=lambda label: -self.lost[label].means[1])

    @property
    def blurred(self) -> list[str]:
        """Those that are still behind, but no longer clearly."""
        return [label for label, one in self.lost.items() if not one.turned]

    @property
    def name(self) -> str:
        return f'"{self.kind}" ({self.asked:,} of {numbered(self.asked + self.remaining, "question")})'


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Accuracies of one setting at one place, best first, and the orders that may be claimed there."""

    scores: Mapping[str, Score]
    borne: frozenset[tuple[str, str]]
    """(better, worse): every seed and the paired test bear it."""
    level: Level | None = None
    """The highest of chance and the oracles that see less than what is asked about."""
    without: Mapping[tuple[str, str], Sequence[LeftOut]] = field(default_factory=dict)
    """By (better, worse), the same with each kind of question left out."""

    def best_of(self, labels: Collection[str]) -> tuple[str, list[str]] | None:
        """The highest mean among ``labels`` and those that no claimed order puts below it, best first; None
        where none has an accuracy."""
        among = [label for label in self.scores if label in labels]
        if not among:
            return None
        best, *others = among
        return best, [label for label in others if (best, label) not in self.borne]

    def learned_little(self, label: str) -> bool:
        """Whether a method is hardly better than :attr:`level`; False where either is unknown."""
        if self.level is None or label not in self.scores:
            return False
        return self.scores[label].mean - self.level.value < LITTLE * (1 - self.level.value)

    def rests(self, labels: Collection[str]) -> list[Rest]:
        """The kinds without which the leader of ``labels`` loses an order that it has, the worst first."""
        best = self.best_of(labels)
        if best is None:
            return []
        leader, lost = best[0], dict[str, dict[str, LeftOut]]()
        for label in self.scores:
            if label in labels:
                for one in self.without.get((leader, label), ()):
                    if not one.stands:
                        lost.setdefault(one.kind, {})[label] = one
        found = [
            Rest(kind=kind, asked=one.asked, remaining=one.remaining, leader=leader, lost=by_label)
            for kind, by_label in lost.items()
            for one in [next(iter(by_label.values()))]
        ]
        return sorted(found, key=lambda rest: (-len(rest.ahead), -len(rest.lost), rest.kind))

    def checked(self, labels: Collection[str]) -> bool:
        """Whether the leader of ``labels`` has an order that was looked at without each kind."""
        best = self.best_of(labels)
        return best is not None and any(self.without.get((best[0], label)) for label in labels)


def ranking(here: pd.DataFrame, comparisons: Sequence[Comparison]) -> Ranking | None:
    """The ranking of the points at one place; None without any accuracy."""
    rows = [row for row in rows_of(here) if row["models"] and known(row["accuracy"])]
    rows.sort(key=lambda row: -row["accuracy"])
    scores = {
        row["method"]: Score(
            mean=row["accuracy"],
            low=row["accuracy_low"],
            high=row["accuracy_high"],
            models=row["models"],
            least=row["accuracy_min"],
            most=row["accuracy_max"],
        )
        for row in rows
    }
    if not scores:
        return None
    claimed = [one for one in comparisons if one.borne]
    values = {column: float(numeric(here[column]).mean()) for column in REFERENCES if column in here}
    levels = [
        Level(name=REFERENCES[column].label, value=value)
        for column, value in values.items()
        if known(value) and (column != LAST_FRAME or value <= MOST_OF_IT)
    ]
    return Ranking(
        scores=scores,
        borne=frozenset((one.better, one.worse) for one in claimed),
        level=max(levels, key=lambda level: level.value, default=None),
        without={(one.better, one.worse): one.without for one in claimed},
    )


def verdict(found: Ranking, labels: Collection[str]) -> str:
    """``A 0.95 [0.94, 0.96], seeds 0.95 to 0.95: ahead of all other 7``, or whom it cannot be told from."""
    best = found.best_of(labels)
    assert best is not None
    leader, tied = best
    others = sum(label in labels for label in found.scores) - 1
    text = f"{leader} {found.scores[leader]}"
    if not others:
        return f"{text}, the only one with an accuracy"
    if not tied:
        return f"{text}: ahead of {'the other one' if others == 1 else f'all other {others}'}"
    text += f": no clear winner between it and {some(tied)}"
    return text if len(tied) == others else f"{text}, ahead of the other {others - len(tied)}"


def rests_in_words(found: Ranking, labels: Collection[str]) -> str | None:
    """What becomes of the lead without one kind of question; None where no kinds were left out."""
    if not found.checked(labels):
        return None
    rests = found.rests(labels)
    if not rests:
        tied = (found.best_of(labels) or ("", []))[1]
        what = "What it is ahead of" if tied else "The lead"
        return f"{what} does not depend on any one kind of question."
    worst, *others = rests
    turned, text = worst.ahead, ""
    if turned:
        text = f"The lead rests on one kind of question: without {turn_in_words(worst)}"
        text += f", and the lead over {listed(worst.blurred)} is no longer clear." if worst.blurred else "."
        if len(others) == 1:
            text += f' Without "{others[0].kind}" the lead over {listed(list(others[0].lost))} is not clear.'
        elif others:
            text += f" {numbered(len(others), 'other kind')}, left out in turn, blur it too."
        return text
    parts = [f"without {rest.name} the lead over {listed(rest.blurred)} is no longer clear" for rest in rests]
    return f"The first place does not depend on any one kind of question, but {'; '.join(parts)}."


def turn_in_words(rest: Rest) -> str:
    """``"when" (224 of 2,049 questions) there is no clear winner: B has 0.950, A 0.945``."""
    first, *more = rest.ahead
    one = rest.lost[first]
    leading, other = one.means
    clear = f"{first} is ahead" if one.turned_clearly else "there is no clear winner"
    text = f"{rest.name} {clear}: {first} has {other:.3f}, {rest.leader} {leading:.3f}"
    return f"{text} ({listed(more)} ahead too)" if more else text


def little_in_words(found: Ranking, labels: Collection[str]) -> str | None:
    """Which methods are hardly better than what needs no look at the question's subject; None if none is."""
    few = [label for label in found.scores if label in labels and found.learned_little(label)]
    if not few or found.level is None:
        return None
    named = some([f"{label} {share(found.scores[label].mean)}" for label in few])
    return f"hardly better than {found.level}, or below it: {named}"
