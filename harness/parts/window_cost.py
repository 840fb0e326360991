"""Declared cost of attention inside windows, and of cross-attention with the settings D1-D5 of CASA.

The arithmetic of :mod:`harness.windows`' rules, from the rules: nothing here looks at rows or keys.

F frames, N tokens of each, g gists and p pooled gists per frame, m windows in sight, L blocks of which S have
cross-attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.windows import LEAST_PIECE


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCost:
    """Who sees what: images of the last ``span`` windows (None: all), with ``text_keys`` their text and gists
    too, of which at most ``reach`` rows before one's own, and pooled gists of the windows before them."""

    span: int | None = 1
    reach: int | None = None
    gists: int = 0
    pooled: int = 0
    text_keys: bool = False

    def in_sight(self, frames: int) -> int:
        """How many of the last frames are seen: min(F, m)."""
        return frames if self.span is None else min(frames, self.span)

    def shown(self, chunk: Chunk) -> int:
        """New frames that any row of the chunk or a later one sees. Where no row stands between frames, these
        are the last ones only."""
        between = self.gists or chunk.now.between
        return chunk.frames if between else self.in_sight(chunk.frames)

    def text_kept(self, seen: Seen) -> tuple[int, int]:
        """Text rows and gist rows of the windows in sight."""
        return seen.text_of_last(self.span), self.gists * self.in_sight(seen.frames)

    def row_pairs(self, chunk: Chunk) -> int:
        """Pairs of the chunk's rows with what they see in their windows.

        A gist sees its frame alone. A text row of window w sees min(w + 1, m) frames, the pooled gists of the
        frames before these, and the windows' text.
        """
        tokens, pairs = chunk.now.tokens, 0
        for segment in chunk.segments():
            frames = segment.window + 1
            seen = self.in_sight(frames)
            aside = seen * tokens + (frames - seen) * self.pooled
            pairs += segment.arrives * self.gists * tokens
            if self.text_keys:
                end = self._text_rows(chunk, segment.window, segment.window + 1)
                pairs += sum(rows * (aside + keys) for rows, keys in self._pieces(segment.text, end))
            else:
                pairs += segment.text * aside
        return pairs

    def image_pairs(self, chunk: Chunk) -> int:
        """Pairs of new image tokens that attend like text at their place: to the frames in sight, their own
        included, and to the text between these."""
        tokens, pairs = chunk.now.tokens, 0
        # A frame that is seen on its own only, by nothing, is left out.
        first = chunk.now.frames - self.shown(chunk) if self.span == 1 else 0
        for segment in chunk.segments():
            if segment.arrives and segment.window >= first:
                text = self._text_rows(chunk, segment.window, segment.window) if self.text_keys else 0
                text = text if self.reach is None else min(text, self.reach)
                pairs += tokens * (self.in_sight(segment.window + 1) * tokens + text)
        return pairs

    def _text_rows(self, chunk: Chunk, window: int, stop: int) -> int:
        """Text and gist rows of the windows that ``window`` sees, of those before window ``stop``."""
        first = -1 if self.span is None else max(-1, window - self.span + 1)
        gists = self.gists * (stop - max(first, 0))
        return chunk.now.text_before(stop) - chunk.now.text_before(first) + max(gists, 0)

    def _pieces(self, rows: int, end: int) -> Iterator[tuple[int, int]]:
        """Pieces of the last ``rows`` of ``end`` text rows, and how many text rows each sees.

        With a bounded reach rows run some at a time, each piece against its own rows and the reach.
        """
        if self.reach is None:
            yield rows, end
            return
        length = max(self.reach, LEAST_PIECE)
        for start in range(0, rows, length):
            piece = min(length, rows - start)
            yield piece, min(end - rows + start + piece, piece + self.reach)


class Bridged(Protocol):
    """Settings of cross-attention with the five differences D1-D5, and where image keys stand."""

    @property
    def parameters(self) -> Literal["own", "shared"]: ...
    @property
    def keys(self) -> Literal["image", "image_text"]: ...
    @property
    def where(self) -> str | None: ...
    @property
    def window_size(self) -> int | None: ...
    @property
    def placement(self) -> Literal["parallel", "before", "replace"]: ...
    @property
    def every(self) -> int: ...
    @property
    def image_updates(self) -> Literal["none", "ffn", "attention", "both"]: ...
    @property
    def gists(self) -> int: ...
    @property
    def pooled_gists(self) -> int: ...
    @property
    def windows(self) -> int | Literal["all"]: ...


def window_cost(c: Bridged) -> WindowCost:
    return WindowCost(
        span=None if c.windows == "all" else c.windows,
        reach=c.window_size,
        gists=c.gists,
        pooled=c.pooled_gists,
        text_keys=c.keys == "image_text",
    )


def bridged_keeps(c: Bridged, seen: Seen, sizes: Sizes) -> Kept:
    """Text and gists where there is self-attention, and in cross-attention what the windows in sight hold.

    D2: the windows' text is kept a second time unless both attentions have the same keys. D5: all pooled
    gists.
    """
    cost, slots = window_cost(c), sizes.layers // c.every
    attending = sizes.layers - slots if c.placement == "replace" else sizes.layers
    text, gists = seen.text * attending, c.gists * seen.frames * attending
    same = c.parameters == "shared" and c.placement == "parallel" and c.where is not None
    if c.keys == "image_text" and not same:
        window_text, window_gists = cost.text_kept(seen)
        text, gists = text + window_text * slots, gists + window_gists * slots
    return Kept(
        text=sizes.kv * text,
        image=sizes.kv * cost.in_sight(seen.frames) * seen.tokens * slots,
        gist=sizes.kv * (gists + c.pooled_gists * seen.frames * slots),
    )


def bridged_computes(c: Bridged, chunk: Chunk, sizes: Sizes) -> Work:
    """Self-attention and FFN of all rows, then D1-D5.

    D1: own q and o of rows, and k and v where the windows' text is among the keys; shared ones are computed
    again unless both attentions run in parallel. D3: ``replace`` has no self-attention in S blocks. D4: image
    tokens pass all FFNs, attend in S blocks, or both. D5: pooling, and pooled gists' keys and values.
    """
    cost, slots, rows = window_cost(c), sizes.layers // c.every, chunk.rows(c.gists)
    attend = c.image_updates in ("attention", "both")
    all_images = attend and c.windows != 1
    images = chunk.now.tokens * (chunk.frames if all_images else cost.shown(chunk))
    attending = sizes.layers - slots if c.placement == "replace" else sizes.layers
    cross = sizes.to_qo + (sizes.to_kv if c.keys == "image_text" else 0)
    again = c.parameters == "shared" and c.placement == "before"
    if c.parameters == "shared" and c.placement == "parallel":
        cross = 0
    inside = attending * (sizes.to_qo + sizes.to_kv) + sizes.layers * sizes.ffn
    pooled = c.pooled_gists * chunk.frames
    other = slots * sizes.to_kv * (images + pooled) + (rows * slots * cross if again else 0)
    other += images * sizes.layers * sizes.ffn if c.image_updates in ("ffn", "both") else 0
    other += images * slots * sizes.to_qo if attend else 0
    # Scores of every token, weighted means of them, a projection of these.
    other += c.pooled_gists * chunk.images * 2 * sizes.width + pooled * sizes.width**2
    pairs = attending * rows * chunk.now.rows(c.gists) + slots * cost.row_pairs(chunk)
    pairs += slots * cost.image_pairs(chunk) if attend else 0
    return Work(
        linear=((rows, inside + (0 if again else slots * cross)),),
        attention=((pairs, sizes.heads_width),),
        other=other,
    )
