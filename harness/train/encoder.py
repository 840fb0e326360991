"""Pretraining of the vision encoder on what is where: digit and colour of every cell, and the name of a
picture.

``python -m harness.train.encoder --out DIR`` writes the encoder that every reference model shares. Only
training instances and training crops are shown. The readout is one attention from a query per cell to the
tokens, so that content is placed where a decoder's attention can find it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.encoders.patch import PatchEncoder, PatchEncoderConfig, places
from harness.media.pictures import PICTURES, picture_batch
from harness.media.scenes import COLOURS, pretraining_batch
from harness.train.optim import Muon, schedule, split_parameters

SIZES = (16, 32, 48, 64, 96)
CELL_GRID = 3
MUON_LR, ADAM_LR = 1e-2, 2e-3


class Readout(nn.Module):
    """Cell contents and picture name from an encoder's tokens; thrown away after pretraining."""

    def __init__(self, width: int, position: int) -> None:
        super().__init__()
        cells = places(CELL_GRID, CELL_GRID, position)
        self.register_buffer("cells", cells)
        self.query = nn.Linear(cells.shape[1], width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.digit, self.colour = nn.Linear(width, 11), nn.Linear(width, len(COLOURS))
        self.picture = nn.Linear(width, len(PICTURES))

    def forward(self, tokens_fnd: Tensor) -> tuple[Tensor, Tensor]:
        """[F, N, D] → digit logits [F, 9, 11] and colour logits [F, 9, colours]."""
        query = self.query(cast("Tensor", self.cells)).expand(len(tokens_fnd), -1, -1)
        seen = nn.functional.scaled_dot_product_attention(query, self.key(tokens_fnd), self.value(tokens_fnd))
        hidden = self.hidden(seen)
        return self.digit(hidden), self.colour(hidden)

    def name(self, tokens_fnd: Tensor) -> Tensor:
        """[F, N, D] → picture logits [F, pictures]."""
        return cast("Tensor", self.picture(tokens_fnd.mean(dim=1)))


def pretrain(
    steps: int, batch: int, seed: int, log_every: int = 100
) -> tuple[PatchEncoder, list[dict[str, float]]]:
    """Train an encoder; the data of step s depends on the seed and s only. Returns it and its log."""
    torch.manual_seed(seed)
    encoder = PatchEncoder(PatchEncoderConfig())
    readout = Readout(encoder.width, encoder.config.position)
    parameters = [*encoder.parameters(), *readout.parameters()]
    network = nn.ModuleList((encoder, readout))
    matrices, rest = split_parameters(network, [])
    optimisers = (
        (Muon(matrices, lr=MUON_LR, weight_decay=0.01), MUON_LR),
        (torch.optim.AdamW(rest, lr=ADAM_LR, weight_decay=0.01, foreach=True), ADAM_LR),
    )
    log: list[dict[str, float]] = []
    for step in range(steps):
        factor = schedule(step, steps, warmup=50, decay=0.6)
        rng = np.random.default_rng([seed, step])
        size = int(rng.choice(SIZES, p=(0.05, 0.15, 0.3, 0.4, 0.1)))
        loss = _loss(encoder, readout, rng, batch, size)
        network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser, lr in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr * factor
            optimiser.step()
        if (step + 1) % log_every == 0 or step + 1 == steps:
            log.append({"step": step + 1, "loss": loss.item(), **evaluate(encoder, readout)})
            print(json.dumps({k: round(v, 4) for k, v in log[-1].items()}), flush=True)
    return encoder.requires_grad_(False).eval(), log


def _loss(encoder: PatchEncoder, readout: Readout, rng: np.random.Generator, batch: int, size: int) -> Tensor:
    pixels, digits, colours = pretraining_batch(rng, batch, size)
    digit_logits, colour_logits = readout(encoder(torch.from_numpy(pixels)))
    loss = cross_entropy(digit_logits.flatten(0, 1), torch.from_numpy(digits).flatten())
    loss = loss + 0.5 * cross_entropy(colour_logits.flatten(0, 1), torch.from_numpy(colours).flatten())
    crops, names = picture_batch(rng, batch // 4, size)
    return loss + 0.2 * cross_entropy(readout.name(encoder(torch.from_numpy(crops))), torch.from_numpy(names))


@torch.no_grad()
def evaluate(encoder: PatchEncoder, readout: Readout, count: int = 256) -> dict[str, float]:
    """Accuracy on held-out instances and crops per size: digits in occupied cells, their colours,
    pictures."""
    out = {}
    for size in SIZES:
        rng = np.random.default_rng([99, size])
        pixels, digits, colours = pretraining_batch(rng, count, size, split="test")
        digit_logits, colour_logits = readout(encoder(torch.from_numpy(pixels)))
        shown = digits < 10
        out[f"digit_{size}"] = float((digit_logits.argmax(-1).numpy() == digits)[shown].mean())
        out[f"colour_{size}"] = float((colour_logits.argmax(-1).numpy() == colours)[shown].mean())
        crops, names = picture_batch(rng, count, size, split="test")
        predicted = readout.name(encoder(torch.from_numpy(crops))).argmax(-1).numpy()
        out[f"picture_{size}"] = float((predicted == names).mean())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the shared vision encoder.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.process_time()
    encoder, log = pretrain(arguments.steps, arguments.batch, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(weights, arguments.out / "model.safetensors")
    card = {"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed}
    summary = {**card, "cpu_seconds": round(time.process_time() - started, 1), "log": log}
    (arguments.out / "training.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
