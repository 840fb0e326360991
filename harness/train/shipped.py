"""Make the shipped models: every method and seed, on the tokenizer and encoder that lie beside them.

``python -m harness.train.shipped --out DIR [--seeds 0,1,2] [--jobs 2]`` writes a folder of their layout. Runs
are independent processes of one thread each; a killed one goes on from its checkpoint when the command is
given again. ``--tokenizer FILE`` writes the tokenizer instead, which is fixed before the first model is
trained; the encoder comes from ``python -m harness.train.encoder``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.tokenizer import word_tokenizer

TASKS = ("videoqa", "multi_image")
METHODS = (
    "token_insertion",
    "casa",
    "vanilla_ca",
    "resampler",
    "flamingo",
    "mllama",
    "hyper_attention",
    "no_visual_self_attention",
    "voco",
    "pruning",
    "streaming_eviction",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One model to train; ``steps`` None takes the recipe's number."""

    method: str
    seed: int
    tasks: tuple[str, ...] = TASKS
    steps: int | None = None

    @property
    def name(self) -> str:
        return f"{self.method}-seed{self.seed}"


def make_tokenizer(path: Path) -> None:
    """One token per word of the tasks that the shipped models are trained on."""
    registry.discover()
    words = {word for name in TASKS for word in registry.tasks.get(name)().vocabulary()}
    path.parent.mkdir(parents=True, exist_ok=True)
    word_tokenizer(words).save(str(path))


def train_command(
    method: str, seed: int, out: Path, tasks: Sequence[str] = TASKS, steps: int | None = None
) -> list[str]:
    """The command that trains one model."""
    named = [argument for name in tasks for argument in ("--task", name)]
    return [
        *(sys.executable, "-m", "harness.cli", "train", "--method", method, *named),
        *("--seed", str(seed), "--out", str(out), "--threads", "1"),
        *(() if steps is None else ("--steps", str(steps))),
    ]


def run_all(runs: Sequence[Run], out: Path, jobs: int) -> int:
    """Train every run in processes of one thread each, ``jobs`` at a time; 1 when any failed."""
    with ThreadPoolExecutor(jobs) as pool:
        codes = pool.map(lambda run: _train(run, out), runs)
        failed = [run for run, code in zip(runs, codes, strict=True) if code]
    for run in failed:
        print(f"{run.name} failed; its log is in {out / 'logs'}", file=sys.stderr)
    return 1 if failed else 0


def _train(run: Run, out: Path) -> int:
    log = out / "logs" / f"{run.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = train_command(run.method, run.seed, out, run.tasks, run.steps)
        return subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Train every shipped model.")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path)
    place.add_argument("--tokenizer", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.tokenizer is not None:
        make_tokenizer(arguments.tokenizer)
        return 0
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    runs = [Run(method, seed) for seed in seeds for method in METHODS]
    return run_all(runs, arguments.out, arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
