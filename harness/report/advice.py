"""Which method for which budget: the most accurate of those whose counted peak fits on a card.

A method fits where its counted peak is at most what :func:`harness.budget.usable_bytes` leaves of the card.
Accuracy ranks come from a :class:`~harness.report.verdicts.Ranking`; who cannot be told from the best among
those that fit is tied with it. What has learned next to nothing is not recommended, however little it needs.
Sizes that were not counted are not advised on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.budget import usable_bytes
from harness.report.counted import Peaks
from harness.report.text import share
from harness.report.verdicts import Ranking
from harness.units import bytes_text, parse_bytes

CARDS: Final = (16, 24, 48, 80)
"""GB, as cards are sold."""
MOST_NAMED: Final = 3
"""Methods that one entry of a table names."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is to be said of one number of frames on one card; labels with peaks in bytes.

    ``best`` has the highest accuracy of what fits and has learned something; None where there is no such
    method. ``tied`` are those that no claimed order puts below it, ``little`` those that fit and have
    learned next to nothing. ``near`` are more accurate than the best and would fit if nothing were kept free,
    with the bytes that they are over. ``fitting`` and ``beyond`` are sorted by accuracy, then by bytes;
    ``unknown`` were not counted at this size. ``accuracies`` are shares where methods are compared.
    """

    frames: int
    card: int
    usable_bytes: int
    best: str | None
    tied: tuple[str, ...]
    little: tuple[str, ...]
    near: Mapping[str, int]
    fitting: Mapping[str, int]
    beyond: Mapping[str, int]
    unknown: tuple[str, ...]
    accuracies: Mapping[str, float]

    @property
    def least(self) -> str | None:
        """What needs the least: of the best and its ties, or of all that fit where there is no best."""
        among = [self.best, *self.tied] if self.best is not None else list(self.fitting)
        return min(among, key=lambda label: self.fitting[label], default=None)

    @property
    def runner_up(self) -> str | None:
        """The next in accuracy of those that fit and have learned something."""
        among = [one for one in self.fitting if one in self.accuracies and one not in self.little]
        return next((one for one in among if one != self.best), None)

    @property
    def entry(self) -> str:
        """The choice in a table's cell."""
        return f"{self._choice}{self._near_misses}"

    @property
    def _choice(self) -> str:
        if self.least is None:
            return "none fits" if not self.unknown else "none of those counted fits"
        if self.best is None and self.little:
            return "none worth taking"
        if self.best is None:
            fit = "1 fits" if len(self.fitting) == 1 else f"{len(self.fitting)} fit"
            return f"{fit}; least: {self.with_peak(self.least)}"
        if 1 + len(self.tied) > MOST_NAMED:
            return f"{1 + len(self.tied)} without a clear winner; least: {self.with_peak(self.least)}"
        named = " or ".join(self.with_peak(label) for label in (self.best, *self.tied))
        return f"{named} (no clear winner)" if self.tied else named

    @property
    def _near_misses(self) -> str:
        found = next(iter(self.near.items()), None)
        return "" if found is None else f"; {found[0]} misses by {bytes_text(found[1])}"

    def with_peak(self, label: str) -> str:
        """``A 0.95, 9.33 GiB``."""
        score = f"{share(self.accuracies[label])}, " if label in self.accuracies else ""
        return f"{label} {score}{bytes_text(self.fitting[label])}"


def choose(peaks: Peaks, frames: int, card: int, ranking: Ranking | None) -> Choice:
    """The choice at a counted number of frames on a card of so many GB."""
    usable, counted = usable_bytes(f"{card}GB"), peaks.at(frames)
    scores = {} if ranking is None else ranking.scores

    def order(label: str) -> tuple[float, int]:
        return (-scores[label].mean if label in scores else 1.0, counted[label])

    by_order = sorted(counted, key=order)
    fitting = {label: counted[label] for label in by_order if counted[label] <= usable}
    little = [] if ranking is None else [label for label in fitting if ranking.learned_little(label)]
    found = None if ranking is None else ranking.best_of(fitting.keys() - {*little})
    best = None if found is None else found[0]
    better = [label for label in by_order if counted[label] > usable and label in scores]
    if best is not None:
        better = [label for label in better if scores[label].mean > scores[best].mean]
    return Choice(
        frames=frames,
        card=card,
        usable_bytes=usable,
        best=best,
        tied=() if found is None else tuple(found[1]),
        little=tuple(little),
        near={
            label: counted[label] - usable
            for label in better
            if counted[label] <= parse_bytes(f"{card}GB")
            and ranking is not None
            and not ranking.learned_little(label)
        },
        fitting=fitting,
        beyond={label: counted[label] for label in by_order if counted[label] > usable},
        unknown=tuple(label for label in peaks.scene.methods if label not in counted),
        accuracies={label: score.mean for label, score in scores.items()},
    )


def important(frames: Sequence[int], mode: str) -> list[tuple[int, int]]:
    """The budgets that get a sentence, as (frames, card in GB): of one prompt the number nearest to five
    minutes at a frame a second on a middling card and the largest on a large one, of a live stream the
    largest on a middling card."""
    if not frames:
        return []
    if mode == "stream":
        return [(max(frames), 24)]
    middle = min(frames, key=lambda count: max(count, 300) / min(count, 300))
    return list(dict.fromkeys([(middle, 24), (max(frames), 80)]))


def duration(frames: int) -> str:
    """How long so many frames last at one a second: ``5 minutes``."""
    for seconds, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if frames >= seconds:
            amount = f"{frames / seconds:.3g}"
            return f"{amount} {unit}" + ("" if amount == "1" else "s")
    raise AssertionError(frames)
