"""Which method for which budget, as tables and sentences made from counted peaks and accuracies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.budget import RESERVE
from harness.report.advice import CARDS, MOST_NAMED, Choice, choose, duration, important
from harness.report.counted import Peaks
from harness.report.document import Column, Source, Table, cell
from harness.report.evidence import Evidence
from harness.report.points import at, numeric
from harness.report.sections.task import Setting
from harness.report.sources import counted_source, joined
from harness.report.text import NO_DATA, listed, number, numbered, parameters_text, some
from harness.report.verdicts import Ranking, ranking, turn_in_words
from harness.units import bytes_text, parse_bytes

KEPT_FREE = bytes_text(parse_bytes(RESERVE))
SHORTEST_S = 60
"""Shorter videos are left out of a table that has longer ones."""
MOST_LEFT_OUT = 2
"""Methods that an entry names of those that do not fit."""
MUCH_LESS = 4
"""Peaks in one pass and frame by frame are both told where the one is so many times the other."""
ADVISED = (
    "video and card",
    "take",
    "how sure",
    "its memory, counted",
    "its accuracy, measured",
    "next best that fits",
    "too large",
)
RANKED_ONLY = ("how sure", "its accuracy, measured", "next best that fits")
"""Columns of the advice that need a ranking by accuracy."""
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

    @property
    def parameters(self) -> pd.Series:
        """Of every model whose accuracy ranks here."""
        cells = self.setting.cells
        return numeric(cells.loc[cells["outcome"] == "ok", "parameters"])


def ranked(settings: Sequence[Setting]) -> list[Ranked]:
    """The settings of trained models with an accuracy, those of published models last; the one that was shown
    the most frames leads, then the one with the most questions."""
    found = []
    for setting in settings:
        if setting.place is None or (setting.cells["weights"] == "random").any():
            continue
        made = ranking(at(setting.points, setting.place), setting.comparisons)
        if made is not None:
            found.append(Ranked(setting=setting, ranking=made))

    def size(one: Ranked) -> tuple[bool, float, float]:
        cells = one.setting.cells
        return not one.setting.published, cells["frames"].max(), numeric(cells["questions"]).max()

    return sorted(found, key=size, reverse=True)


def table(
    peaks: Peaks, lead: Ranked | None, evidence: Evidence, name: str, stream: Peaks | None = None
) -> Table:
    """Lengths of video down, cards across; where ``stream`` offers more than one pass does, that is said."""
    key = peaks.scene.key
    by = (
        f"the most accurate on {lead.where} of those whose counted peak fits, with its accuracy there and "
        "its peak"
        if lead is not None
        else "how many fit and the one that needs the least; no accuracy ranks them"
    )
    shown = [frames for frames in peaks.frames if frames >= SHORTEST_S] or peaks.frames
    rows = [[choose(peaks, frames, card, _of(lead)) for card in CARDS] for frames in shown]
    if any(choice.best is None and choice.little for row in rows for choice in row):
        by += "; none worth taking: what fits is hardly better than an oracle that sees less"
    return Table(
        name=name,
        caption=f"{_LEADS[key.mode]} ({key.backbone}, {peaks.pixels} pixels, a frame a second): {by}.",
        columns=(
            Column("frames"),
            Column("video", numeric=False),
            *(Column(f"{card} GB", numeric=False) for card in CARDS),
        ),
        rows=tuple(
            (
                cell(f"{row[0].frames:,}", row[0].frames),
                cell(duration(row[0].frames)),
                *(cell(f"{choice.entry}{_frame_by_frame(choice, stream, lead)}") for choice in row),
            )
            for row in rows
        ),
        source=source(peaks, evidence),
    )


def _frame_by_frame(choice: Choice, stream: Peaks | None, lead: Ranked | None) -> str:
    """What fits when the same video is shown frame by frame, where that is more accurate."""
    if stream is None or lead is None or not stream.at(choice.frames):
        return ""
    other = choose(stream, choice.frames, choice.card, lead.ranking)
    reached = choice.accuracies.get(choice.best or "", -1.0)
    if other.best is None or other.accuracies[other.best] <= reached:
        return ""
    return f"; frame by frame: {other.with_peak(other.best)}"


def source(peaks: Peaks, evidence: Evidence) -> Source:
    """The counted scenarios of one mode, backbone and resolution."""
    records = [one for one in peaks.scene.records if (one.key.height, one.key.width) == peaks.size]
    return counted_source(evidence, records)


def advice(counted: Sequence[Peaks], found: Sequence[Ranked], evidence: Evidence) -> Table:
    """The choice at the important budgets, and how sure it is."""
    lead = found[0] if found else None
    choices = [
        (peaks, choose(peaks, frames, card, _of(lead)))
        for peaks in counted
        for frames, card in important(peaks.frames, peaks.scene.key.mode)
    ]
    shown = [index for index, title in enumerate(ADVISED) if lead or title not in RANKED_ONLY]
    stream = next((peaks for peaks in counted if peaks.scene.key.mode == "stream"), None)
    rows = [_advised(peaks, choice, lead, stream) for peaks, choice in choices]
    return Table(
        name="advice",
        caption=_units(counted, lead),
        columns=tuple(Column(ADVISED[index], numeric=False) for index in shown),
        rows=tuple(tuple(cell(row[index]) for index in shown) for row in rows),
        source=joined(source(peaks, evidence) for peaks in counted),
    )


def _units(counted: Sequence[Peaks], lead: Ranked | None) -> str:
    key = counted[0].scene.key
    text = (
        f"Memory: counted for {key.backbone} ({parameters_text(_parameters(counted))} by method), "
        f"{counted[0].pixels} pixels, a frame a second, {KEPT_FREE} of the card kept free"
    )
    if lead is None:
        return f"{text}; no accuracy ranks what fits."
    there = f"{lead.setting.values['backbone']} ({parameters_text(lead.parameters)})"
    return f"{text}. Accuracy: measured on {there}, {lead.where}."


def _advised(peaks: Peaks, choice: Choice, lead: Ranked | None, stream: Peaks | None) -> list[str]:
    """One row under :data:`ADVISED`."""
    frames, mode = choice.frames, peaks.scene.key.mode
    video = f"{duration(frames).removesuffix('s').replace(' ', '-')} video"
    what = (
        f"{video}, {choice.card} GB"
        if mode == "prefill"
        else f"live for {duration(frames)}, {choice.card} GB"
    )
    too_large = _too_large(choice)
    if lead is None or choice.best is None:
        entry = f"{choice.entry}{_frame_by_frame(choice, stream if mode == 'prefill' else None, lead)}"
        memory = _memory(choice, choice.least) if choice.least and not choice.little else NO_DATA
        return [what, entry, NO_DATA, memory, NO_DATA, NO_DATA, too_large]
    following = choice.runner_up
    taken, among = choice.best, [choice.best, *choice.tied]
    take = listed(among, "or")
    if len(among) > MOST_NAMED and choice.least is not None:
        taken, take = choice.least, f"{choice.least}, which needs the least of {len(among)}"
    return [
        what,
        take,
        sureness(lead.ranking, choice.fitting, choice.tied),
        _memory(choice, taken),
        str(lead.ranking.scores[taken]),
        choice.with_peak(following) if following else NO_DATA,
        too_large,
    ]


def _memory(choice: Choice, label: str) -> str:
    """The peak beside what is left of the card."""
    return f"{bytes_text(choice.fitting[label])} of {bytes_text(choice.usable_bytes)}"


def _too_large(choice: Choice) -> str:
    named = [f"{label} {bytes_text(size)}" for label, size in choice.beyond.items()]
    more = len(named) - MOST_LEFT_OUT
    parts = [*named[:MOST_LEFT_OUT], *([f"{more} more"] if more > 0 else [])]
    text = ", ".join(parts) or "none"
    return f"{text}; not counted: {listed(list(choice.unknown))}" if choice.unknown else text


def sureness(ranking: Ranking, labels: Collection[str], tied: Collection[str]) -> str:
    """A few words on what becomes of the lead without one kind of question."""
    if tied:
        return "no clear winner"
    if sum(label in labels for label in ranking.scores) < 2:
        return NO_DATA
    rests = ranking.rests(labels)
    if not rests:
        return "clear"
    if rests[0].ahead:
        return f'rests on one kind: "{rests[0].kind}"'
    return f'clear; over {listed(rests[0].blurred)} only through "{rests[0].kind}"'


def trust(counted: Sequence[Peaks], found: Sequence[Ranked]) -> list[str]:
    """What the recommended lead rests on; then what is counted, what is measured and what is neither."""
    key = counted[0].scene.key
    memory = (
        f"Memory is counted, not measured: tensor by tensor in {key.dtype}, with the attention kernels of "
        "torch's CUDA build and no text between the frames. A frame is an image of its own; an input that "
        "merges frames in pairs has half the tokens."
    )
    lead = _lead(counted, found)
    return [*([lead] if lead else []), *_other_models(counted, found), memory]


def _lead(counted: Sequence[Peaks], found: Sequence[Ranked]) -> str | None:
    """What the choice at the first budget rests on, where another method may be as good."""
    budgets = important(counted[0].frames, counted[0].scene.key.mode)
    if not found or not budgets:
        return None
    ranking, where = found[0].ranking, found[0].where
    choice = choose(counted[0], *budgets[0], ranking)
    if choice.best is None:
        return None
    if choice.tied:
        return (
            f"There is no clear winner on {where} between {some([choice.best, *choice.tied])}; "
            f"{choice.least} needs the least memory of them."
        )
    rests = ranking.rests(choice.fitting)
    if not rests or not rests[0].ahead:
        return None
    turn = turn_in_words(rests[0])
    return f"The lead of {choice.best} on {where} rests on one kind of question: without {turn}."


def _other_models(counted: Sequence[Peaks], found: Sequence[Ranked]) -> list[str]:
    """How far the measured models are from the counted ones."""
    key = counted[0].scene.key
    if not found or all(one.setting.values["backbone"] == key.backbone for one in found):
        return []
    cells = pd.concat([one.setting.cells for one in found])
    cells = cells[cells["outcome"] == "ok"]
    times = min(_parameters(counted)) / numeric(cells["parameters"]).max()
    size = f"about {number(times, 2)} times smaller than {key.backbone}" if times >= 2 else "others"
    trained = cells[cells["extrapolated"].eq(other=False)]["frames"]
    upto = f" and were trained with up to {numbered(int(trained.max()), 'frame')}" if len(trained) else ""
    return [
        f"Accuracy is measured on other models than memory is counted for: they are {size}{upto}. None was "
        f"measured at {max(one.frames[-1] for one in counted):,} frames. Larger models, trained for longer, "
        "may rank otherwise. So rule methods out by memory, and before you choose by accuracy, measure it on "
        "your own model."
    ]


def frame_by_frame(counted: Sequence[Peaks]) -> str | None:
    """Which methods need much less when a video is not shown in one pass."""
    by_mode = {peaks.scene.key.mode: peaks for peaks in counted}
    if not {"prefill", "stream"} <= by_mode.keys():
        return None
    once, turns = by_mode["prefill"], by_mode["stream"]
    frames = max({*once.frames} & {*turns.frames}, default=0)
    first, then = once.at(frames), turns.at(frames)
    parts = [
        f"{label} {bytes_text(then[label])} instead of {bytes_text(first[label])}"
        for label in first
        if label in then and first[label] > MUCH_LESS * then[label]
    ]
    if not parts:
        return None
    return (
        f"A video that is shown frame by frame needs less than one in one pass: at {frames:,} frames "
        f"{listed(parts)}. What a method evicts or sums up leaves memory between frames only: in one pass "
        "nothing is evicted before the end."
    )


def _parameters(peaks: Sequence[Peaks]) -> pd.Series:
    return pd.Series(
        [peak.parameters for one in peaks for by_frames in one.peaks.values() for peak in by_frames.values()]
    )


def _of(lead: Ranked | None) -> Ranking | None:
    return None if lead is None else lead.ranking
