"""Streams in counts against the same streams written out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.declared import Chunk, Kept, Seen, Work

COUNT = st.integers(0, 5)


@st.composite
def streams(draw: st.DrawFn) -> Seen:
    frames = draw(COUNT)
    return Seen(
        frames=frames,
        tokens=3,
        before=draw(COUNT),
        between=draw(COUNT),
        after=draw(COUNT) if frames else 0,
    )


def texts(seen: Seen) -> list[int]:
    """Text rows of every window, that before the first frame first."""
    if not seen.frames:
        return [seen.before]
    return [seen.before, *[seen.between] * (seen.frames - 1), seen.after]


@given(streams(), st.integers(1, 7))
def test_text_by_windows(seen: Seen, windows: int) -> None:
    written = texts(seen)
    assert seen.text == sum(written)
    assert [seen.text_in(w - 1) for w in range(len(written))] == written
    assert seen.text_of_last(windows) == sum(written[-windows:])
    assert seen.text_of_last(None) == seen.text
    assert seen.rows(3) == seen.text + seen.images


@given(streams(), st.data())
def test_a_chunk_brings_what_was_not_there(now: Seen, data: st.DataObject) -> None:
    frames = data.draw(st.integers(0, now.frames))
    most = texts(now)[frames]
    last = data.draw(st.integers(0, most))
    past = Seen(
        frames=frames,
        tokens=3,
        before=now.before if frames else last,
        between=now.between,
        after=last if frames else 0,
    )
    chunk = Chunk(past, now)
    segments = list(chunk.segments())
    assert sum(segment.text for segment in segments) == chunk.text == now.text - past.text
    assert sum(segment.arrives for segment in segments) == chunk.frames == now.frames - frames
    assert [segment.window for segment in segments] == list(range(frames - 1, now.frames))
    assert chunk.rows(3) == chunk.text + chunk.images


def test_operations_of_work() -> None:
    work = Work(linear=((10, 6), (0, 100)), attention=((5, 8),), other=3)
    assert work.flops == 2 * (60 + 2 * 40 + 3)
    assert work.weights == 6
    assert work.attends
    assert not Work(linear=((1, 1),)).attends
    assert (work + work).flops == work.times(2).flops == 2 * work.flops


def test_kept_in_bytes() -> None:
    kept = Kept(text=3, image=2, gist=1)
    assert kept.bytes_by_kind(2) == {"text_kv": 6, "image_kv": 4, "gist_kv": 2}
    assert kept.total == 6
