"""Groups of equal blocks through torch's ``scaled_dot_product_attention``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from harness.attention.builds import asked_build
from harness.attention.pattern import Group
from harness.attention.record import is_recording, record
from harness.attention.standin import sdpa_as


def attend_group(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, group: Group, scale: float) -> Tensor:
    """Attention of one group's rows: [n lq, H, D], block after block."""
    shape, heads, width = group.shape, q_thd.shape[1], q_thd.shape[2]
    k, v = (_rows(x, group.keys, group.n, shape.lk) for x in (k_skd, v_skd))
    q = _queries(q_thd, k.shape[1], group)
    if group.masked and group.mask_rows < shape.lq:
        output = _in_pieces(q, k, v, group, scale)
    else:
        mask = group.mask(q.dtype) if group.masked else None
        output = _sdpa(q, k, v, mask, shape.square, scale)
    if shape.lq > 1:
        output = output.transpose(1, 2)
    return output.reshape(group.n * shape.lq, heads, width)


def take(x: Tensor, index: slice | Tensor) -> Tensor:
    """Rows of x; x or a view of it where they are a run."""
    if not isinstance(index, slice):
        return x.index_select(0, index)
    return x if index.stop - index.start == x.shape[0] else x[index]


def _rows(x: Tensor, index: slice | Tensor, n: int, length: int) -> Tensor:
    """[*, heads, D] → [n, heads, length, D]."""
    return take(x, index).view(n, length, *x.shape[1:]).transpose(1, 2)


def _queries(q_thd: Tensor, kv_heads: int, group: Group) -> Tensor:
    """[n, H, lq, D]. The heads that share a key head of a single query are that head's queries, since they
    see the same: [n, K, H/K, D]."""
    if group.shape.lq > 1:
        return _rows(q_thd, group.queries, group.n, group.shape.lq)
    return take(q_thd, group.queries).view(group.n, kv_heads, -1, q_thd.shape[2])


def _in_pieces(q: Tensor, k: Tensor, v: Tensor, group: Group, scale: float) -> Tensor:
    """A causal block's queries some at a time, each time against the keys that any of them sees.

    Aligned bottom-right, every piece's mask is the lower right part of the same mask.
    """
    lq, lk, piece = group.shape.lq, group.shape.lk, group.mask_rows
    mask, outputs = group.mask(q.dtype), []
    for start in range(0, lq, piece):
        stop = min(lq, start + piece)
        seen = lk - lq + stop
        part = mask[piece - (stop - start) :, lk - seen :]
        outputs.append(_sdpa(q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], part, False, scale))
    return torch.cat(outputs, dim=2)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    build = asked_build()
    if build is not None:
        output, kernel = sdpa_as(build, q, k, v, mask, causal, scale)
        record("blocks", kernel, build)
        return output
    gqa = q.shape[1] != k.shape[1]
    if is_recording():
        choice = torch._fused_sdp_choice(q, k, v, mask, 0.0, causal, scale=scale, enable_gqa=gqa)
        kernel = SDPBackend(choice).name.removesuffix("_ATTENTION").lower()
        record("blocks", kernel, q.device.type)
    return scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=gqa
    )
