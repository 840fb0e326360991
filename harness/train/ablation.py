"""Train the models of the ablation over CASA's differences D1-D5 (arXiv 2512.19535, section 3).

``python -m harness.train.ablation --out models/ablation [--seeds 0] [--jobs 2]``: one model per setting, all
on the recipe of the reference models cut to ``STEPS`` steps of ``TASKS``. ``--list`` prints the settings as
``harness eval --methods`` takes them. The base is the paper's cross-attention, from which each setting
bridges one difference.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.train.shipped import Run, run_all

TASKS, STEPS = ("videoqa",), 1300
BASE = "casa:keys=image"
DIFFERENCES = (
    "gists=0",
    "gists=0+parameters=shared",
    "gists=0+placement=before",
    "gists=0+placement=replace+every=2",
    "gists=0+image_updates=ffn",
    "gists=0+image_updates=attention",
    "gists=0+image_updates=both",
    "gists=0+windows=all",
)
GISTS = (1, 2, 4, 8)


def settings() -> list[str]:
    """The base, each single difference, gist tokens, pooled gists, the default, and all bridged."""
    single = [f"{BASE}+{difference}" for difference in DIFFERENCES]
    gists = [f"{BASE}+gists={k}" for k in GISTS]
    pooled = [f"{BASE}+gists=0+pooled_gists={k}" for k in GISTS]
    return [*single, "casa:gists=0", *gists, *pooled, "casa", "token_insertion"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Train every model of the ablation.")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path)
    place.add_argument("--list", action="store_true")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.list:
        print(",".join(settings()))
        return 0
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    runs = [Run(setting, seed, TASKS, STEPS) for seed in seeds for setting in settings()]
    return run_all(runs, arguments.out, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
