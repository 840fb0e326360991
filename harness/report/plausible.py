"""Records that load but whose numbers no measurement gives: a report that took them in could not be drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from harness.records import Accuracy, Measures, Ok, Record
from harness.store import Score

_GREATEST = 2**63 - 1
"""What a column of integers holds."""
_LARGEST_SIDE = 2**31 - 1


def doubt(record: Record) -> str | None:
    """Why the record cannot be reported; None where it can."""
    key = record.key
    for name in ("frames", "height", "width"):
        if not 1 <= getattr(key, name) <= _LARGEST_SIDE:
            return f"{name} is {_short(getattr(key, name))}; it lies between 1 and {_LARGEST_SIDE}"
    plain = _plain(record)
    for where, value in () if plain else _numbers(record, ""):
        if isinstance(value, int) and not -_GREATEST <= value <= _GREATEST:
            return f"{where} is {_short(value)}, more than 64 bits hold"
    if isinstance(record.outcome, Ok):
        return _doubt_measures(record.outcome.measures, plain=plain)
    return None


def _doubt_measures(measures: Measures, *, plain: bool) -> str | None:
    shares = {"accuracy": measures.accuracy, **{f"accuracy of {k!r}": v for k, v in measures.by_kind.items()}}
    for name, accuracy in shares.items():
        if accuracy is not None and any(not 0 <= share <= 1 for share in _shares(accuracy)):
            return f"{name[:60]} holds a share outside 0 to 1"
    for where, value in () if plain else _numbers(measures, ""):
        if value < 0:
            return f"{where} is {_short(value)}, less than nothing"
    return None


def misfit(record: Record, outcomes: Sequence[Score]) -> str | None:
    """Why the answers cannot be those that the record's accuracy was made of; None where they can."""
    if not isinstance(record.outcome, Ok) or record.outcome.measures.accuracy is None:
        return None
    accuracy = record.outcome.measures.accuracy
    statuses = Counter(one.status for one in outcomes)
    counts = [statuses[status] for status in ("scored", "unparsed", "error")]
    if counts != [accuracy.scored, accuracy.unparsed, accuracy.errors]:
        return f"it holds {sum(counts)} answers that are not those of the record, by their number"
    values = [one.value or 0.0 for one in outcomes if one.status != "error"]
    mean = math.fsum(values) / len(values) if values else None
    if (mean is None) != (accuracy.mean is None):
        return "it holds answers where the record has no accuracy, or none where it has one"
    if mean is not None and accuracy.mean is not None and abs(mean - accuracy.mean) > 1e-6:
        return f"the mean of its answers is {mean:.4f}, the record's {accuracy.mean:.4f}"
    return None


def _shares(accuracy: Accuracy) -> list[float]:
    ends = (accuracy.mean, accuracy.low, accuracy.high, accuracy.chance, *accuracy.oracles.values())
    return [share for share in ends if share is not None]


def _plain(value: object) -> bool:
    """Whether no number in it can be doubted, which is so nearly always: places are not put together."""
    if isinstance(value, int | float):
        return 0 <= value <= _GREATEST
    if isinstance(value, BaseModel):
        return all(map(_plain, vars(value).values()))
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    if not isinstance(value, tuple):
        return True
    if value and {*map(type, value)} <= {int, float}:
        return bool(min(value) >= 0 and max(value) <= _GREATEST)
    return all(map(_plain, value))


def _numbers(value: object, where: str) -> Iterator[tuple[str, float]]:
    """Every number of the record's own fields with its place; settings may hold any."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _numbers(getattr(value, name), f"{where}.{name}" if where else name)
    elif isinstance(value, dict) and not where.endswith("_config"):
        for name, one in value.items():
            yield from _numbers(one, f"{where}.{str(name)[:40]}")
    elif isinstance(value, tuple):
        for one in value:
            yield from _numbers(one, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield where, value


def _short(value: float) -> str:
    # Python refuses to write out integers of thousands of digits.
    if isinstance(value, int) and abs(value) > _GREATEST:
        return f"about {'-' if value < 0 else ''}2^{value.bit_length() - 1}"
    return f"{value}"
