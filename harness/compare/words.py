"""The verdict in words: what may be claimed, what cannot be told, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from harness.compare.interleaved import TimeRatio
from harness.compare.results import Answers, Bytes, PairResult, PlaceResult
from harness.left_out import LEVEL, LeftOut
from harness.report.text import NO_DATA, listed, numbered

MOST_KINDS = 6
"""Kinds of questions that are named per side; the table has the others."""

PHASES = {"prefill": "prefill", "per_frame": "an appended frame", "per_token": "a decoded token"}


def verdict(result: PairResult) -> list[str]:
    """One statement per item, accuracies first."""
    lines = []
    if any(place.random_weights for place in result.places):
        lines.append("The models have random weights: their costs mean something, their accuracies do not.")
    else:
        lines += _accuracy(result)
    return lines + _costs(result) + _times(result) + _backbones(result)


def _backbones(result: PairResult) -> list[str]:
    names = [result.first.backbone, result.second.backbone]
    if None in names or names[0] == names[1]:
        return []
    return [
        f"{names[0]} and {names[1]} differ in more than the fusion: in the language model, the vision "
        "encoder and what both were trained on. No difference here is that of two fusion methods."
    ]


def _accuracy(result: PairResult) -> list[str]:
    first, second = result.first.name, result.second.name
    scored = [(place, place.overall) for place in result.places if place.overall is not None]
    if not scored:
        return ["Accuracy is not compared: no question was scored on both sides."]
    lines = []
    for better, worse, sign in ((first, second, 1), (second, first, -1)):
        won = [(place, one) for place, one in scored if one.borne and sign * one.difference.mean > 0]
        if won:
            size = _range([abs(one.difference.mean) for _, one in won], "+.3f")
            largest = max(one.adjusted_p for _, one in won)
            lines.append(
                f"{better} is more accurate than {worse} {_where(won, scored)}, by {size}; not luck: every "
                "seed of the one is above every seed of the other, and "
                f"p <= {largest:.2g} after Holm's correction."
            )
            lines += _rests(better, worse, won)
    training = [pair for pair in scored if not pair[1].borne and pair[1].adjusted_p < LEVEL]
    if training:
        single = any(min(one.models) < 2 for _, one in training)
        why = (
            "with one trained model on a side the spread over seeds is not known"
            if single
            else "the seeds of both overlap"
        )
        lines.append(
            f"The answers differ {_where(training, scored)} ({_detail(training)}), but {why}: it may be luck "
            "of training, so no order is claimed there."
        )
    equal = [pair for pair in scored if pair[1].equal]
    if equal:
        lines.append(f"{first} and {second} have equal scores on every question {_where(equal, scored)}.")
    even = [pair for pair in scored if pair[1].adjusted_p >= LEVEL and not pair[1].equal]
    if even:
        lines.append(
            f"No clear winner between {first} and {second} {_where(even, scored)}, the difference is within "
            f"chance: {_detail(even)}{_needed(even)}."
        )
    return lines + _kinds(result)


def _rests(better: str, worse: str, won: Sequence[tuple[PlaceResult, Answers]]) -> list[str]:
    """Which kinds of questions the order needs: without one of them, all else the same, it falls."""
    looked = [one for _, one in won if one.without]
    falling: dict[str, list[LeftOut]] = {}
    for one in looked:
        for left in one.without:
            if not left.stands:
                falling.setdefault(left.kind, []).append(left)
    if looked and not falling:
        return ["That lead does not depend on any one kind of question."]
    by_turns = sorted(falling.items(), key=lambda item: (-sum(one.turned for one in item[1]), item[0]))
    return [
        _rest(better, worse, there[0]) if len(won) == 1 else _rest_at(worse, there, len(won))
        for _, there in by_turns
    ]


def _rest(better: str, worse: str, left: LeftOut) -> str:
    leading, other = left.means
    what = f"that lead is no longer clear: {leading:.3f} against {other:.3f}"
    if left.turned:
        clear = f"{worse} is ahead" if left.turned_clearly else "there is no clear winner"
        what = f"{clear}: {worse} has {other:.3f}, {better} {leading:.3f}"
    of = f"{left.asked:,} of {numbered(left.asked + left.remaining, 'question')}"
    return f'Without "{left.kind}" ({of}) {what}.'


def _rest_at(worse: str, there: Sequence[LeftOut], places: int) -> str:
    turned = sum(left.turned for left in there)
    parts = [f"{worse} has the higher accuracy at {turned}"] if turned else []
    parts += [f"the lead is no longer clear at {len(there) - turned}"] if turned < len(there) else []
    return f'Without "{there[0].kind}" {listed(parts)} of these {places} places.'


def _where(part: Sequence[tuple[PlaceResult, Answers]], whole: Sequence[tuple[PlaceResult, Answers]]) -> str:
    """The places, by name where it is one, else counted by task."""
    if len(part) == 1:
        return f"at {part[0][0].place}"
    counts, totals = (Counter(place.place.task for place, _ in pairs) for pairs in (part, whole))
    tasks = ", ".join(f"{task} {count} of {totals[task]}" for task, count in sorted(counts.items()))
    return f"at {len(part)} of {numbered(len(whole), 'place')} ({tasks})"


def _detail(part: Sequence[tuple[PlaceResult, Answers]]) -> str:
    if len(part) > 1:
        return f"differences {_range([one.difference.mean for _, one in part], '+.3f')}"
    found = part[0][1].difference
    if found.mean == 0 and found.p_value == 1:
        return f"equal scores in total on {numbered(found.questions, 'question')}"
    return f"difference {difference_text(part[0][1])}, p = {part[0][1].adjusted_p:.2g}"


def _needed(part: Sequence[tuple[PlaceResult, Answers]]) -> str:
    needed = [one.questions_needed for _, one in part if one.questions_needed is not None]
    if not needed:
        return ""
    size = "a difference of this size" if len(part) == 1 else "the largest of these differences"
    return f"; to tell {size} would take about {_rounded(min(needed)):,} questions, with clips in proportion"


def _rounded(count: int) -> int:
    """Two significant digits: it is an estimate."""
    return int(float(f"{count:.1e}"))


def _kinds(result: PairResult) -> list[str]:
    parts = []
    for side, sign in ((result.first, 1), (result.second, -1)):
        counts = Counter(
            one.kind
            for place in result.places
            for one in place.answers
            if one.kind is not None and one.borne and sign * one.difference.mean > 0
        )
        named = [
            f"{kind} ({numbered(count, 'place')})"
            for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]
        rest = len(named) - MOST_KINDS
        named = named[:MOST_KINDS] + ([f"{rest} more"] if rest > 0 else [])
        if named:
            parts.append(f"{side.name} on {listed(named)}")
    return [f"By kind of question, more accurate: {'; '.join(parts)}."] if parts else []


def _costs(result: PairResult) -> list[str]:
    measures: tuple[tuple[str, Callable[[PlaceResult], Bytes | None]], ...] = (
        ("peak memory", lambda place: place.peak),
        ("state between frames", lambda place: place.state),
    )
    parts, equal = [], []
    for name, measure in measures:
        found = [bytes_ for place in result.places if (bytes_ := measure(place)) is not None]
        ratios = [one.ratio for one in found if one.ratio is not None]
        if found and all(one.difference == 0 for one in found):
            equal.append(name)
        elif ratios:
            parts.append(f"{_range(ratios, '.2f')} times the {name}")
    lines = [f"{result.first.name} takes {listed(parts)} of {result.second.name}."] if parts else []
    return [*lines, f"Equal on both sides: {listed(equal)}."] if equal else lines


def _times(result: PairResult) -> list[str]:
    """A sentence per stream and weights: what differs in them is no further size of the same experiment."""
    groups: dict[tuple[str, str], list[TimeRatio]] = {}
    for one in result.interleaved:
        groups.setdefault((one.task, one.weights), []).append(one)
    return [
        f"Timed in turns on {task} with {weights} weights, {result.first.name} takes, beside "
        f"{result.second.name}, {listed(_phases(ratios))}."
        for (task, weights), ratios in groups.items()
    ]


def _phases(found: Sequence[TimeRatio]) -> list[str]:
    """Per phase the ratios that their intervals tell from 1, and at how many of the sizes."""
    parts = []
    for phase in dict.fromkeys(one.phase for one in found):
        ratios = [one for one in found if one.phase == phase]
        told = [one for one in ratios if one.told]
        sizes = numbered(len({(one.frames, one.resolution) for one in ratios}), "size")
        apart = len({(one.frames, one.resolution) for one in told})
        parts.append(
            f"{_range([one.ratio for one in told], '.2f')} times as long for {PHASES[phase]} (clear at "
            f"{apart} of {sizes})"
            if told
            else f"times for {PHASES[phase]} without a clear difference at any of {sizes}"
        )
    return parts


def _range(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def difference_text(one: Answers) -> str:
    """The difference with its interval, signs kept; in one word where there is none at any question."""
    if one.equal:
        return "equal"
    found = one.difference
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def seeds_text(one: Answers) -> str:
    """The difference's spread over the seeds that both have."""
    spread = one.seed_spread
    return NO_DATA if spread is None else f"{spread.least:+.3f} to {spread.most:+.3f}"
