"""Attention inside windows: which image, text and pooled keys a row sees.

A window is the text between two image insertions (CASA, arXiv 2512.19535): a row sees the images of its own
window and, with a ``span`` m above 1, those of the m - 1 windows before it. Keys are numbered images first,
then text, then pooled gists. Within a sample they stand in the order of time, so what a row sees is a run of
each.

Shapes: R rows, M image tokens of the chunk, S keys (cached ones first, then the chunk's).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.attention import Block, Index, to_device
from harness.layout import Images, Kind, Layout, Rows, runs

LEAST_PIECE = 32
"""Rows with a bounded reach are cut into pieces of at least this many, so that no block is quadratic."""


@dataclass(frozen=True, slots=True)
class WindowKeys:
    """Attributes [S] of keys. A sample's prefix is one run of them, and so is each of its branches."""

    sample: Index
    window: Index
    frame: Index
    branch: Index

    def __len__(self) -> int:
        return len(self.sample)

    @classmethod
    def none(cls) -> WindowKeys:
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, empty, empty)

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """The run of every (sample, branch)."""
        return {
            (int(self.sample[start]), int(self.branch[start])): (start, stop)
            for start, stop in runs(self.sample, self.branch)
        }


@dataclass(frozen=True, slots=True)
class Visible:
    """How far a row sees: ``span`` windows counted back from its own (None: all), and at most ``reach`` text
    tokens before itself (None: no bound)."""

    span: int | None = 1
    reach: int | None = None

    def first(self, window: int) -> int:
        """The first window that a row of ``window`` sees."""
        return -1 if self.span is None else max(-1, window - self.span + 1)

    def first_row(self, windows: Index, layout: Layout) -> int:
        """The first row of a stream, by its rows' windows, that anything in the next chunk sees."""
        opened = min([*layout.rows.window[:1], *layout.images.window[:1], layout.cursors[0].window])
        return int(np.searchsorted(windows, self.first(int(opened)), side="left"))


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of windowed attention, numbered in this order."""

    images: WindowKeys
    text: WindowKeys | None = None
    pooled: WindowKeys | None = None

    def __len__(self) -> int:
        return sum(len(keys) for keys in (self.images, self.text, self.pooled) if keys is not None)


def window_blocks(rows: Rows, keys: Keys, visible: Visible) -> list[Block]:
    """What every row sees: its windows' images so far, pooled gists of earlier windows, and the windows' own
    text so far where there are text keys.

    Gist rows see the images of their own window only. Without text keys this is equation 2 of the CASA paper
    with windows, with them equation 4 (CA^{t+v}).
    """
    finder = _Finder(keys, visible, len(rows))
    blocks: list[Block] = []
    for start, stop in runs(rows.sample, rows.branch, rows.window, rows.frame, rows.kind == Kind.GIST):
        place = (int(rows.sample[start]), int(rows.branch[start]))
        window, frame = int(rows.window[start]), int(rows.frame[start])
        if rows.kind[start] == Kind.GIST:
            seen = finder.images(place[0], window, window, frame)
            blocks.append(Block(np.arange(start, stop), seen, causal=False))
            continue
        images = finder.images(place[0], visible.first(window), window, frame)
        seen = np.concatenate((images, finder.pooled(place[0], window)))
        if keys.text is None:
            blocks.append(Block(np.arange(start, stop), seen, causal=False))
        else:
            blocks.extend(finder.with_text(place, window, start, stop, seen))
    return blocks


def image_blocks(rows: Rows, images: Images, keys: Keys, visible: Visible) -> list[Block]:
    """What every image token sees where images are updated by attention: the text and the images before its
    frame in its windows, and its frame's tokens up to itself. Queries are numbered as the chunk's image
    tokens."""
    finder = _Finder(keys, visible, len(rows))
    cached = len(keys.images) - len(images)
    blocks = []
    for start, stop in runs(images.sample, images.frame):
        sample, window, frame = (int(c[start]) for c in (images.sample, images.window, images.frame))
        earlier = finder.images(sample, visible.first(window), window, frame)
        own = cached + np.arange(start, stop)
        before = earlier[earlier < cached + start]
        text = finder.text_before(sample, window, frame)
        blocks.append(Block(np.arange(start, stop), np.concatenate((text, before, own)), causal=True))
    return blocks


class _Finder:
    """Finds runs of keys by binary search."""

    def __init__(self, keys: Keys, visible: Visible, rows: int) -> None:
        self.keys, self.visible = keys, visible
        self.image_places = keys.images.places()
        self.text_places = keys.text.places() if keys.text is not None else {}
        self.pooled_places = keys.pooled.places() if keys.pooled is not None else {}
        self.text_offset = len(keys.images)
        self.pooled_offset = self.text_offset + (len(keys.text) if keys.text is not None else 0)
        self.cached_text = len(keys.text) - rows if keys.text is not None else 0

    def images(self, sample: int, first: int, last: int, frame: int) -> Index:
        """Images of windows ``first`` to ``last`` up to ``frame``."""
        a, b = self.image_places.get((sample, 0), (0, 0))
        windows, frames = self.keys.images.window[a:b], self.keys.images.frame[a:b]
        start = int(np.searchsorted(windows, first, side="left"))
        stop = min(np.searchsorted(windows, last, side="right"), np.searchsorted(frames, frame, side="right"))
        return np.arange(a + start, a + int(stop))

    def pooled(self, sample: int, window: int) -> Index:
        """Pooled gists of the windows before those whose images are seen."""
        if self.keys.pooled is None or self.visible.span is None:
            return np.zeros(0, dtype=np.int64)
        a, b = self.pooled_places.get((sample, 0), (0, 0))
        windows = self.keys.pooled.window[a:b]
        stop = int(np.searchsorted(windows, self.visible.first(window), side="left"))
        return self.pooled_offset + np.arange(a, a + stop)

    def text_before(self, sample: int, window: int, frame: int) -> Index:
        """The text of the windows of an image before it."""
        if self.keys.text is None:
            return np.zeros(0, dtype=np.int64)
        a, b = self._windows_text(sample, window)
        stop = a + int(np.searchsorted(self.keys.text.frame[a:b], frame, side="left"))
        if self.visible.reach is not None:
            a = max(a, stop - self.visible.reach)
        return self.text_offset + np.arange(a, stop)

    def with_text(
        self, place: tuple[int, int], window: int, start: int, stop: int, seen: Index
    ) -> Iterator[Block]:
        """Rows ``start`` to ``stop`` with the keys ``seen`` and their windows' text up to themselves."""
        sample, branch = place
        a, b = self._windows_text(sample, window)
        before = np.arange(a, b)
        own = self.text_places[place][0]
        if branch == 0:
            before, own = before[:0], a
        reach = self.visible.reach
        piece = stop - start if reach is None else max(reach, LEAST_PIECE)
        for first in range(start, stop, piece):
            last = min(stop, first + piece)
            text = np.concatenate((before, np.arange(own, self.cached_text + last)))
            if reach is not None:
                text = text[max(0, len(text) - (last - first) - reach) :]
            keys = np.concatenate((seen, self.text_offset + text))
            yield Block(np.arange(first, last), keys, causal=True, prefix=len(seen), reach=reach)

    def _windows_text(self, sample: int, window: int) -> tuple[int, int]:
        """The run of the prefix's text keys from the first window that ``window`` sees."""
        assert self.keys.text is not None
        a, b = self.text_places.get((sample, 0), (0, 0))
        windows = self.keys.text.window[a:b]
        return a + int(np.searchsorted(windows, self.visible.first(window), side="left")), b


def without_unseen_images(layout: Layout, span: int | None = 1) -> Layout:
    """Leave out images that no row's windows show and no later row can see.

    A video's frames without text between them are such for every method that looks at the last images only.
    """
    if span is None:
        return layout
    rows, images = layout.rows, layout.images
    keep = np.zeros(len(images), dtype=bool)
    for start, stop in runs(images.sample):
        sample = int(images.sample[start])
        windows = np.append(np.unique(rows.window[rows.sample == sample]), layout.cursors[sample].window)
        shown = images.window[start:stop]
        # The first window with a row at or after the image's own.
        looking = windows[np.minimum(np.searchsorted(windows, shown, side="left"), len(windows) - 1)]
        keep[start:stop] = (looking >= shown) & (looking < shown + span)
    if keep.all():
        return layout
    index = np.flatnonzero(keep)
    kept = Images(
        images.tokens[to_device(index, images.tokens.device)],
        *(column[index] for column in images.columns),
    )
    return replace(layout, images=kept)
