"""Operators that stand in for CUDA's fused attention kernels: the same inputs and outputs, on any device.

A fused kernel allocates its output, the log-sum-exp of every query in float32 and the state of a random
generator, in the sizes and layouts of torch's own kernels; scores never reach memory. Here each is one
operator: on a CPU it computes the attention (what it allocates on the way is its own affair, as in a kernel),
on the meta device it has sizes only. Scratch memory inside CUDA's kernels (split keys when decoding, the
accumulator of the queries' gradient) is not part of it.

Shapes: T queries, S keys, n blocks of lq and lk, H heads, K key/value heads, D head width.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.utils.flop_counter import register_flop_formula

from harness.attention.builds import Build, fused_choice
from harness.attention.pattern import Packed

_GENERATOR = (2,)
_BIAS_ALIGNMENT = 8
"""Elements to which the memory-efficient kernel's mask is aligned."""
_LSE_ALIGNMENT = 32
"""Queries to which its log-sum-exp is padded."""
_BY_ROWS = (0, 2, 1, 3)
"""Its outputs lie in memory as [n, l, H, D]."""


def varlen_kernel(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float) -> Tensor:
    """Stands in for ``torch.nn.attention.varlen.varlen_attn``."""
    output, *_ = _varlen(q, k, v, packed.cu_q, packed.cu_k, packed.pairs, packed.causal, scale)
    return cast("Tensor", output)


def sdpa_as(
    build: Build, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> tuple[Tensor, str]:
    """``scaled_dot_product_attention`` of q [n, H, lq, D] as a build runs it, and the kernel's name."""
    grouped = q.shape[1] != k.shape[1]
    if build == "cpu":
        if q.is_meta:
            # The composite operator would take the math route here, whatever a CPU takes.
            kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return kernel(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)[0], "flash"
        return _composite(q, k, v, mask, causal, scale), "flash"
    kernel_name = "math" if build == "cuda-math" else fused_choice(q, k, mask, causal)
    if kernel_name == "math":
        output, _ = torch.ops.aten._scaled_dot_product_attention_math(
            q, k, v, mask, 0.0, causal, scale=scale, enable_gqa=grouped
        )
        return output, kernel_name
    if mask is not None and mask.shape[-1] % _BIAS_ALIGNMENT:
        width = mask.shape[-1]
        mask = pad(mask, (0, -width % _BIAS_ALIGNMENT))[..., :width]
    efficient = kernel_name == "efficient"
    return _fused(q, k, v, mask, causal, scale, efficient, _lse_rows(q, k, v, efficient))[0], kernel_name


def _lse_rows(q: Tensor, k: Tensor, v: Tensor, efficient: bool) -> int:
    """Queries whose log-sum-exp is written: the memory-efficient kernel's serves the backward pass only."""
    if not efficient:
        return q.shape[2]
    trained = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    return -(-q.shape[2] // _LSE_ALIGNMENT) * _LSE_ALIGNMENT if trained else 0


def _composite(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )


@torch.library.custom_op("vlm_fusion_harness::flash_varlen", mutates_args=())
def _varlen(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, pairs: int, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """[T, H, D] over [S, K, D], segment by segment; ``pairs`` is the sum of lq lk, for the operations."""
    return (_by_segment(q, k, v, cu_q, cu_k, causal, scale), *_beside(q))


def _by_segment(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, causal: bool, scale: float
) -> Tensor:
    outputs = []
    for queries, keys in zip(_slices(cu_q), _slices(cu_k), strict=True):
        qs, ks, vs = (x[part].transpose(0, 1)[None] for x, part in ((q, queries), (k, keys), (v, keys)))
        lq, lk = qs.shape[2], ks.shape[2]
        mask = _bottom_right(lq, lk, q.device) if causal else None
        outputs.append(_composite(qs, ks, vs, mask, False, scale)[0].transpose(0, 1))
    return torch.cat(outputs).contiguous() if outputs else torch.zeros_like(q)


def _bottom_right(lq: int, lk: int, device: torch.device) -> Tensor:
    return torch.ones(lq, lk, dtype=torch.bool, device=device).tril(lk - lq)


def _slices(cumulative: Tensor) -> list[slice]:
    return [slice(a, b) for a, b in itertools.pairwise(cumulative.tolist())]


def _beside(q: Tensor) -> tuple[Tensor, Tensor]:
    """Log-sum-exp [H, T] and the generator's state; their values serve nobody here."""
    heads, rows = q.shape[1], q.shape[0]
    return q.new_zeros((heads, rows), dtype=torch.float32), q.new_zeros(_GENERATOR, dtype=torch.uint64)


@_varlen.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, pairs: int, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    lse = q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)
    return torch.empty_like(q), lse, q.new_empty(_GENERATOR, dtype=torch.uint64)


@torch.library.custom_op("vlm_fusion_harness::flash_varlen_backward", mutates_args=())
def _varlen_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    pairs: int,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients_by_segment(grad, q, k, v, cu_q, cu_k, causal, scale)


def _gradients_by_segment(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for queries, keys in zip(_slices(cu_q), _slices(cu_k), strict=True):
        pairs = ((grad, queries), (q, queries), (k, keys), (v, keys))
        gs, qs, ks, vs = (x[part].transpose(0, 1)[None] for x, part in pairs)
        mask = _bottom_right(qs.shape[2], ks.shape[2], q.device) if causal else None
        parts = _gradients(gs, qs, ks, vs, mask, scale)
        for whole, part, where in zip((dq, dk, dv), parts, (queries, keys, keys), strict=True):
            whole[where] = part[0].transpose(0, 1)
    return dq, dk, dv


def _gradients(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of softmax(q k^T scale + mask) v. An operator's own kernel cannot ask autograd for them."""
    n, shared = len(q), q.shape[1] // k.shape[1]
    go, qf, kf, vf = (x.double() for x in (grad, q, k, v))
    kf, vf = (x.repeat_interleave(shared, dim=1) for x in (kf, vf))
    scores = qf @ kf.mT * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(dim=-1)
    along = go @ vf.mT
    dscores = weights * (along - (along * weights).sum(dim=-1, keepdim=True)) * scale
    dk, dv = (x.view(n, -1, shared, *x.shape[2:]).sum(dim=2) for x in (dscores.mT @ qf, weights.mT @ go))
    return (dscores @ kf).to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


@_varlen_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_others: Any, **_options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _keep_varlen(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, cu_q, cu_k, *ctx.settings = inputs
    out, lse, generator = output
    ctx.save_for_backward(q, k, v, out, lse, cu_q, cu_k, generator)
    ctx.set_materialize_grads(False)


def _backward_varlen(ctx: Any, grad: Tensor, *_unused: Tensor | None) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, cu_q, cu_k, _ = ctx.saved_tensors
    return (*_varlen_backward(grad, q, k, v, out, lse, cu_q, cu_k, *ctx.settings), *[None] * 5)


_varlen.register_autograd(_backward_varlen, setup_context=_keep_varlen)


@torch.library.custom_op("vlm_fusion_harness::fused_sdpa", mutates_args=())
def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    efficient: bool,
    lse_rows: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """[n, H, lq, D] over [n, K, lk, D] through the flash or the memory-efficient kernel."""
    out, *beside = _fused_outputs(q, efficient, lse_rows)
    return (out.copy_(_composite(q, k, v, mask, causal, scale)), *beside)  # type: ignore[return-value]


def _fused_outputs(q: Tensor, efficient: bool, lse_rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, log-sum-exp, and the generator's state in two parts."""
    out = _by_rows(q) if efficient else torch.empty_like(q)
    lse = q.new_zeros((*q.shape[:2], lse_rows), dtype=torch.float32)
    shapes, dtype = (((), ()), torch.int64) if efficient else ((_GENERATOR, ()), torch.uint64)
    seed, offset = (q.new_zeros(shape, dtype=dtype) for shape in shapes)
    return out, lse, seed, offset


def _by_rows(x: Tensor) -> Tensor:
    return torch.empty_permuted(x.shape, _BY_ROWS, dtype=x.dtype, device=x.device)


@_fused.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    efficient: bool,
    lse_rows: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _fused_outputs(q, efficient, lse_rows)


@torch.library.custom_op("vlm_fusion_harness::fused_sdpa_backward", mutates_args=())
def _fused_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    efficient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if causal:
        mask = _bottom_right(q.shape[2], k.shape[2], q.device)
    made = _fused_gradients(q, k, v, efficient)
    for whole, part in zip(made, _gradients(grad, q, k, v, mask, scale), strict=True):
        whole.copy_(part)
    return made


def _fused_gradients(q: Tensor, k: Tensor, v: Tensor, efficient: bool) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (_by_rows(x) if efficient else torch.empty_like(x) for x in (q, k, v))
    return dq, dk, dv


@_fused_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    efficient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _fused_gradients(q, k, v, efficient)


def _keep_fused(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, mask, *ctx.settings, _ = inputs
    out, lse, seed, offset = output
    ctx.save_for_backward(q, k, v, out, lse, mask, seed, offset)
    ctx.set_materialize_grads(False)


def _backward_fused(ctx: Any, grad: Tensor, *_unused: Tensor | None) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, mask, _, _ = ctx.saved_tensors
    return (*_fused_backward(grad, q, k, v, out, lse, mask, *ctx.settings), *[None] * 5)


_fused.register_autograd(_backward_fused, setup_context=_keep_fused)


@register_flop_formula(torch.ops.vlm_fusion_harness.flash_varlen, get_raw=True)
def _varlen_flops(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, pairs: int, *_: Any, **__: Any
) -> int:
    """Scores and values: 2 products of 2 operations per multiply-add; a causal mask is not discounted."""
    return 2 * pairs * q.shape[1] * (q.shape[2] + v.shape[2])


@register_flop_formula(torch.ops.vlm_fusion_harness.flash_varlen_backward, get_raw=True)
def _varlen_backward_flops(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **_: Any) -> int:
    """Scores again, and the gradients of scores, queries, keys and values: 5 products for the forward's 2."""
    pairs = cast("int", rest[4])
    return 5 * pairs * q.shape[1] * (q.shape[2] + v.shape[2])


@register_flop_formula(torch.ops.vlm_fusion_harness.fused_sdpa, get_raw=True)
def _fused_flops(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return 2 * q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * (q.shape[3] + v.shape[3])


@register_flop_formula(torch.ops.vlm_fusion_harness.fused_sdpa_backward, get_raw=True)
def _fused_backward_flops(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return 5 * q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * (q.shape[3] + v.shape[3])
