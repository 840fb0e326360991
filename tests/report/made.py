"""Evidence for tests of sections, without a folder, and what a section says as one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.counting.records import CountRecord, Mode
from harness.records import Failed, Record
from harness.report.document import Items, Notice, Section, Table, Text
from harness.report.evidence import Evidence
from harness.report.frame import kinds_to_frame, records_to_frame
from harness.timing.records import TimedMethod, TimingKey, TimingRecord
from tests.counted import count_key, peak
from tests.counted import record as counted_record
from tests.report import synthetic as s
from tests.timing import made as interleaved

GIB = 2**30


def evidence(
    records: Sequence[Record] = (),
    counted: Sequence[CountRecord] = (),
    timings: Sequence[TimingRecord] = (),
    *,
    with_samples: bool = True,
) -> Evidence:
    return Evidence(
        run="runs/a b",
        records=records,
        problems=[],
        cells=records_to_frame(records),
        kinds=kinds_to_frame(records),
        samples={one.key.digest: tuple(s.samples(one)) for one in records} if with_samples else {},
        counted=counted,
        timings=timings,
    )


def timing(times: Mapping[str, Sequence[float] | Failed], frames: int = 8, **changes: object) -> TimingRecord:
    """Methods of the synthetic run, timed with the weights of its cells."""
    methods = tuple(
        TimedMethod(method=name, method_config=s.key(name).method_config, weights="0" * 16) for name in times
    )
    shared = s.key().model_dump(
        include={"task", "task_version", "task_config", "height", "width", "backbone", "dtype", "device"}
        | {"view_seed"}
    )
    key = TimingKey.model_validate(
        {**interleaved.key().model_dump(), **shared, "methods": methods, "frames": frames} | changes
    )
    record = interleaved.record(dict(times))
    return record.model_copy(update={"key": key})


def video(
    amounts: dict[str, dict[int, int | str]], mode: Mode = "prefill", backbone: str = "large"
) -> list[CountRecord]:
    """Counted peaks in bytes by method and frames, or why there is none."""
    found = []
    for method, by_frames in amounts.items():
        for frames, amount in by_frames.items():
            key = count_key(method, mode, frames=frames, backbone=backbone, height=448, width=448)
            found.append(counted_record(key, amount if isinstance(amount, str) else peak(amount)))
    return found


def said(section: Section | None) -> str:
    """Titles, sentences, captions and cells, one a line."""
    if section is None:
        return ""
    lines = [section.title]
    for block in section.blocks:
        match block:
            case Text(text) | Notice(text):
                lines.append(text)
            case Items(texts):
                lines += texts
            case Table():
                lines.append(block.caption)
                lines += [" | ".join(cell.text for cell in row) for row in block.rows]
            case _:
                lines += list(getattr(block, "lines", ()))
    return "\n".join([*lines, *(said(part) for part in section.parts)])


def table(section: Section | None, name: str) -> Table:
    """The one table of a name."""
    assert section is not None
    (found,) = [block for block in section.walk() if isinstance(block, Table) and block.name == name]
    return found


def body(found: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in found.rows]
