"""What a view's samples take of memory while they are decoded, encoded and answered, by their number.

Each number of samples runs in a process of its own. *Growth* is the process's peak resident memory less what
it held with the model loaded and one sample answered. Pixels are random; the samples are made on demand, as
those of a benchmark are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from harness import registry
from harness.measure.accuracy import answer_all
from harness.measure.cache import EntryCache
from harness.measure.views import load_view
from harness.models import build_model
from harness.spec import DEFAULT_BACKBONE
from harness.stream import Frame, Stream
from harness.task import Kind, Question, Sample, SamplesOnDemand, Score, Task, View, exact_match
from harness.vlm import FusedModel

MIB = 1 << 20


class Noise(Task):
    """Random pictures, drawn when they are asked for."""

    version: ClassVar[int] = 1
    summary = "random pictures"
    licence = "MIT"
    source = "drawn"
    kinds: ClassVar = {"any": Kind(description="any", needs="any")}

    def samples(self, view: View) -> Sequence[Sample]:
        return SamplesOnDemand(view.limit or 1, lambda place: _sample(place, view))

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)


def _sample(place: int, view: View) -> Sample:
    rng = np.random.default_rng([place, view.seed])
    shape = (view.height, view.width, 3)
    frames = [Frame(rng.integers(0, 256, shape, dtype=np.uint8), float(time)) for time in range(view.frames)]
    question = Question(id="q", kind="any", prompt="what digit is red ?", answer="3", chance=None)
    return Sample(id=str(place), stream=Stream(tuple(frames)), questions=(question,), group=str(place))


def answer(model: FusedModel, view: View) -> int:
    """Decode, encode and answer a view with an empty cache; the number of answers."""
    with tempfile.TemporaryDirectory() as folder:
        encoded = load_view("noise", Noise(), view, model, "cpu", EntryCache(Path(folder), _say))
        return len(answer_all(model, Noise(), encoded, device="cpu", batch=1, progress=_say))


def _say(line: str) -> None:
    if not line.startswith("answering"):
        print(line, file=sys.stderr)


@torch.inference_mode()
def growth_bytes(method: str, frames: int, resolution: int, samples: int) -> int:
    """In this process."""
    torch.set_num_threads(1)
    registry.discover()
    model = build_model(method, {}, DEFAULT_BACKBONE, 0)
    answer(model, View(frames=frames, height=resolution, width=resolution, seed=1, limit=1))
    before = _resident_bytes()
    answer(model, View(frames=frames, height=resolution, width=resolution, limit=samples))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", default="casa")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--samples", default="50,400", help="numbers of samples (default 50,400)")
    parser.add_argument("--json", action="store_true", help="write figures as JSON")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    counts = [int(count) for count in given.samples.split(",")]
    if given.in_process:
        (count,) = counts
        print(growth_bytes(given.method, given.frames, given.resolution, count))
        return
    rows = []
    for count in counts:
        options = ("--method", given.method, "--frames", str(given.frames), "--samples", str(count))
        command = [sys.executable, "-m", "benchmarks.view_memory", *options]
        command += ["--resolution", str(given.resolution), "--in-process"]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        pixels = count * given.frames * given.resolution**2 * 3
        rows.append({"samples": count, "pixel_bytes": pixels, "growth_bytes": int(out)})
    first = rows[0]["growth_bytes"]
    if given.json:
        print(json.dumps({"rows": rows, "ratios": [row["growth_bytes"] / first for row in rows]}))
        return
    for row in rows:
        pixels, growth = row["pixel_bytes"] / MIB, row["growth_bytes"] / MIB
        ratio = row["growth_bytes"] / first
        print(
            f"{row['samples']:>6} samples, {pixels:8.1f} MiB of pixels: {growth:8.1f} MiB more, {ratio:.2f} x"
        )


if __name__ == "__main__":
    main()
