"""FLOPs against counts made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from harness.measure.flops import count_flops
from harness.measure.workload import Workload
from tests.measure.conftest import fused


@pytest.mark.parametrize("inference", [True, False])
def test_matrix_products_are_two_operations_a_term(inference: bool) -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 16, bias=False))
    with torch.inference_mode(inference):
        assert count_flops(lambda: model(torch.zeros(5, 7, 32))) == 2 * 35 * (32 * 64 + 64 * 16)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_counts_scores_and_values(masked: bool) -> None:
    n, heads, queries, keys, width = 2, 3, 5, 11, 8
    q, k = torch.zeros(n, heads, queries, width), torch.zeros(n, heads, keys, width)
    mask = torch.ones(queries, keys, dtype=torch.bool) if masked else None
    with torch.inference_mode():
        counted = count_flops(lambda: scaled_dot_product_attention(q, k, k, attn_mask=mask))
    assert counted == 2 * 2 * n * heads * queries * keys * width


def test_what_torch_cannot_count_is_none() -> None:
    def refuse() -> None:
        raise NotImplementedError

    assert count_flops(refuse) is None


@torch.inference_mode()
def test_a_token_insertion_prefill_equals_the_analytic_count(workload: Callable[[str], Workload]) -> None:
    load = workload("token_insertion")
    model = fused(load)
    session = model.session()
    counted = count_flops(lambda: load.prefill(session))
    decoder = model.decoder
    width, rows = decoder.width, len(session.state.text) - 1  # The start token came with the session.
    tokens = load.features.shape[0] * load.features.shape[1]
    linear = sum(
        module.in_features * module.out_features
        for index in range(len(decoder.blocks))
        for module in decoder.block(index).modules()
        if isinstance(module, nn.Linear)
    )
    connector = tokens * model.connector.project.in_features * width
    times = len(load.features) * model.connector.time.in_features * width
    attention = len(decoder.blocks) * 2 * rows * (rows + 1) * width
    head = width * decoder.embed.num_embeddings
    assert counted == 2 * (rows * linear + connector + times + attention + head)
