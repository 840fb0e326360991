"""Which image rows of a stream receive the most attention from one of its rows.

Shapes: R rows, S keys, F querying rows, n image rows that each of them ranks, c of these that are chosen, H
heads, K key/value heads, G = H / K, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.attention import Index, to_device
from harness.layout import Kind, Rows, runs


@dataclass(frozen=True, slots=True)
class Ranking:
    """Image rows [F, n] of one sample, each n of which are ranked by a row of their own, ``by`` [F].

    ``start`` and ``stop`` bound the rows of the sample's prefix.
    """

    start: int
    stop: int
    by: Index
    rows: Index


def rankings(rows: Rows, together: bool) -> list[Ranking]:
    """How image rows are ranked: each frame's by its own last row, or ``together`` all of a sample's by the
    last row of its prefix."""
    found = []
    for start, stop in runs(rows.sample, rows.branch):
        images = start + np.flatnonzero(rows.kind[start:stop] == Kind.IMAGE)
        if not len(images):
            continue
        if together:
            found.append(Ranking(start, stop, np.array([stop - 1]), images[None]))
            continue
        bounds = np.array(runs(rows.frame[images]))
        lengths = bounds[:, 1] - bounds[:, 0]
        for length in np.unique(lengths).tolist():
            firsts = images[bounds[lengths == length, 0]]
            frames = firsts[:, None] + np.arange(length)
            found.append(Ranking(start, stop, frames[:, -1], frames))
    return found


def most_attended(
    ranking: Ranking, count: int, q_rhd: Tensor, k_skd: Tensor, cached: int, scale: float
) -> list[Tensor]:
    """Numbers of the ``count`` rows of each n that receive the most attention, the mean over heads.

    ``cached`` keys stand before those of the chunk's rows. Queries are taken D at a time, so that the scores
    [D, H, S] of a piece are no larger than the queries of S rows. Of equals the first is chosen.
    """
    k_skd = k_skd[ranking.start : cached + ranking.stop]
    offset = cached - ranking.start
    chosen = []
    for first in range(0, len(ranking.by), q_rhd.shape[2]):
        part = slice(first, first + q_rhd.shape[2])
        by_f, rows_fn = (to_device(a[part], q_rhd.device) for a in (ranking.by, ranking.rows))
        weights_fs = _mean_attention(q_rhd.index_select(0, by_f), k_skd, by_f + offset, scale)
        weights_fn = weights_fs.gather(1, rows_fn + offset)
        order = weights_fn.sort(dim=1, descending=True, stable=True).indices[:, :count]
        chosen.append(rows_fn.gather(1, order).flatten())
    return chosen


def _mean_attention(q_fhd: Tensor, k_skd: Tensor, last_f: Tensor, scale: float) -> Tensor:
    """Softmax over the keys up to each query's last one, averaged over heads: [F, S]."""
    q_fkgd = q_fhd.view(len(q_fhd), k_skd.shape[1], -1, q_fhd.shape[2])
    scores_fkgs = torch.einsum("fkgd,skd->fkgs", q_fkgd, k_skd) * scale
    later_fs = torch.arange(len(k_skd), device=k_skd.device)[None] > last_f[:, None]
    scores_fkgs = scores_fkgs.masked_fill(later_fs[:, None, None], float("-inf"))
    precise = torch.promote_types(scores_fkgs.dtype, torch.float32)
    return torch.softmax(scores_fkgs, dim=-1, dtype=precise).mean(dim=(1, 2))
