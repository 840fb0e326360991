"""Which method for which budget, as tables and sentences made from counted peaks and accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from harness.budget import RESERVE
from harness.report.advice import CARDS, Choice, choose, duration, important
from harness.report.counted import Peaks
from harness.report.document import Column, Source, Table, cell
from harness.report.evidence import Evidence
from harness.report.points import at, numeric
from harness.report.sections.task import Setting
from harness.report.sources import counted_source
from harness.report.text import listed, number, numbered
from harness.report.verdicts import Ranking, ranking, verdict
from harness.units import bytes_text, parse_bytes

KEPT_FREE = bytes_text(parse_bytes(RESERVE))
SHORTEST_S = 60
"""Shorter videos are left out of a table that has longer ones."""
MOST_LEFT_OUT = 3
"""Methods that a sentence names of those that do not fit."""
_LEADS = {
    "prefill": "A recorded video, all of it in one pass",
    "stream": "A live stream, or a video shown frame by frame",
}


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A setting whose accuracies mean something, with the ranking where its methods are compared."""

    setting: Setting
    ranking: Ranking

    @property
    def where(self) -> str:
        assert self.setting.place is not None
        return f"{self.setting.title} at {numbered(self.setting.place[0], 'frame')}"


def ranked(settings: Sequence[Setting]) -> list[Ranked]:
    """The settings of trained models with an accuracy; the one that was shown the most frames leads, then the
    one with the most questions."""
    found = []
    for setting in settings:
        if setting.place is None or (setting.cells["weights"] == "random").any():
            continue
        made = ranking(at(setting.points, setting.place), setting.comparisons)
        if made is not None:
            found.append(Ranked(setting=setting, ranking=made))

    def size(one: Ranked) -> tuple[float, float]:
        return one.setting.cells["frames"].max(), numeric(one.setting.cells["questions"]).max()

    return sorted(found, key=size, reverse=True)


def table(peaks: Peaks, lead: Ranked | None, evidence: Evidence, name: str) -> Table:
    """Lengths of video down, cards across."""
    key = peaks.scene.key
    by = (
        f"the most accurate on {lead.where} of those whose counted peak fits, with its accuracy there and "
        "its peak; tied: no order is borne"
        if lead is not None
        else "how many fit and the one that needs the least; no accuracy ranks them"
    )
    shown = [frames for frames in peaks.frames if frames >= SHORTEST_S] or peaks.frames
    rows = [[choose(peaks, frames, card, _of(lead)) for card in CARDS] for frames in shown]
    return Table(
        name=name,
        caption=(
            f"{_LEADS[key.mode]} ({key.backbone}, {peaks.pixels} pixels, a frame a second): {by}. "
            f"{KEPT_FREE} of the card is kept free."
        ),
        columns=(
            Column("frames"),
            Column("video", numeric=False),
            *(Column(f"{card} GB", numeric=False) for card in CARDS),
        ),
        rows=tuple(
            (
                cell(f"{row[0].frames:,}", row[0].frames),
                cell(duration(row[0].frames)),
                *(cell(choice.entry) for choice in row),
            )
            for row in rows
        ),
        source=source(peaks, evidence),
    )


def source(peaks: Peaks, evidence: Evidence) -> Source:
    """The counted scenarios of one mode, backbone and resolution."""
    records = [one for one in peaks.scene.records if (one.key.height, one.key.width) == peaks.size]
    return counted_source(evidence, records)


def sentences(peaks: Peaks, found: Sequence[Ranked]) -> list[str]:
    """The choice at the important budgets, and why."""
    lead = _of(found[0] if found else None)
    texts = []
    for frames, card in important(peaks.frames, peaks.scene.key.mode):
        choice = choose(peaks, frames, card, lead)
        texts.append(f"{_question(peaks, choice)}: {_answer(choice, found)}{_left_out(choice)}")
    return texts


def _question(peaks: Peaks, choice: Choice) -> str:
    key, frames = peaks.scene.key, choice.frames
    shown = f"{numbered(frames, 'frame')} of {peaks.pixels} pixels, one a second"
    what = f"a {duration(frames).removesuffix('s').replace(' ', '-')} video"
    what = what if key.mode == "prefill" else f"a live stream after {duration(frames)}"
    return f"For {what} ({shown}) on a card of {choice.card} GB with {key.backbone}"


def _answer(choice: Choice, found: Sequence[Ranked]) -> str:
    room = f"the {bytes_text(choice.usable_bytes)} that are left of the card"
    if choice.least is None:
        return f"none of the methods fits {room}."
    if choice.best is None:
        return (
            f"{choice.least} needs the least, {bytes_text(choice.fitting[choice.least])}; "
            f"nothing ranks {_that_fit(choice)} {room} by accuracy."
        )
    own = f"its peak of {bytes_text(choice.fitting[choice.best])} fits {room}"
    text = f"{choice.best}; {own}"
    if choice.tied:
        text = f"{listed([choice.best, *choice.tied], 'or')}; of {choice.best} {own}"
        if choice.least is not None and choice.least != choice.best:
            text += f", {choice.least} needs the least, {bytes_text(choice.fitting[choice.least])}"
    ranks = [
        f"on {one.where} {verdict(one.ranking, choice.fitting)}"
        for one in found
        if one.ranking.best_of(choice.fitting) is not None
    ]
    return f"{text}. Of {_that_fit(choice)}: {'; '.join(ranks)}."


def _that_fit(choice: Choice) -> str:
    count = len(choice.fitting)
    return "the only method that fits" if count == 1 else f"the {count} methods that fit"


def _left_out(choice: Choice) -> str:
    text = ""
    if choice.beyond:
        named = [f"{label} ({bytes_text(size)})" for label, size in choice.beyond.items()][:MOST_LEFT_OUT]
        more = len(choice.beyond) - len(named)
        text = f" Too large: {listed([*named, *([f'{more} more'] if more else [])])}."
    return f"{text} Not counted at this size: {listed(list(choice.unknown))}." if choice.unknown else text


def caveats(peaks: Sequence[Peaks], found: Sequence[Ranked]) -> str:
    """What is counted, what is measured and what is neither."""
    key = peaks[0].scene.key
    text = (
        f"Peaks are counted, tensor by tensor and without a GPU, for {key.dtype} weights and the attention "
        f"kernels of torch's CUDA build; {KEPT_FREE} is kept free for what is no tensor. "
        "No text stands between the frames. "
        "A frame is an image of its own: an input that merges frames in pairs has half the tokens."
    )
    if not found or all(one.setting.values["backbone"] == key.backbone for one in found):
        return text
    cells = pd.concat([one.setting.cells for one in found])
    cells = cells[cells["outcome"] == "ok"]
    trained = cells[cells["extrapolated"].eq(other=False)]["frames"]
    upto = f", trained with up to {numbered(int(trained.max()), 'frame')}" if len(trained) else ""
    return (
        f"{text} Accuracies are measured on other models: theirs have "
        f"{_millions(numeric(cells['parameters']))} parameters{upto}, the counted ones "
        f"{_millions(_parameters(peaks))}. None was measured with {key.backbone} or at "
        f"{max(one.frames[-1] for one in peaks):,} frames; larger models, trained for longer, may rank "
        "otherwise."
    )


def _parameters(peaks: Sequence[Peaks]) -> pd.Series:
    return pd.Series(
        [peak.parameters for one in peaks for by_frames in one.peaks.values() for peak in by_frames.values()]
    )


def _millions(counts: pd.Series) -> str:
    low, high = (number(count / 1e6) for count in (counts.min(), counts.max()))
    return f"{low} million" if low == high else f"{low} to {high} million"


def _of(lead: Ranked | None) -> Ranking | None:
    return None if lead is None else lead.ranking
