"""The equation itself, over a dense mask: what every fast route is tested against."""

from __future__ import annotations

import torch
from torch import Tensor


def attend_reference(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, mask_ts: Tensor, scale: float) -> Tensor:
    """softmax(q k^T scale + mask) v; a row that sees nothing gets 0."""
    repeat = q_thd.shape[1] // k_skd.shape[1]
    k_shd = k_skd.repeat_interleave(repeat, dim=1)
    v_shd = v_skd.repeat_interleave(repeat, dim=1)
    scores = torch.einsum("thd,shd->hts", q_thd, k_shd) * scale
    scores = scores.masked_fill(~mask_ts, float("-inf"))
    sees = mask_ts.any(dim=1)
    weights = torch.softmax(scores.masked_fill(~sees[None, :, None], 0.0), dim=-1)
    output = torch.einsum("hts,shd->thd", weights, v_shd)
    return output * sees[:, None, None].to(output.dtype)
