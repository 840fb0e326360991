"""The recipe of the reference models: which views each step shows, and the schedule. The same for every
method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.task import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``frames`` and ``sizes`` with their weights; frame counts up to ``first_frames`` only at first, all of
    them after the share ``ramp`` of the steps. ``tasks_weight`` is the share of steps of the first task."""

    steps: int = 2600
    batch: int = 16
    frames: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    frame_weights: tuple[float, ...] = (0.06, 0.1, 0.12, 0.2, 0.18, 0.18, 0.1, 0.06)
    first_frames: int = 2
    ramp: float = 0.45
    sizes: tuple[int, ...] = (16, 32, 48, 64)
    size_weights: tuple[float, ...] = (0.06, 0.2, 0.34, 0.4)
    first_task_share: float = 0.75
    muon_lr: float = 4e-3
    adam_lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 100
    decay: float = 0.35
    clip: float = 1.0

    @property
    def views(self) -> list[View]:
        """Every view that a step may show."""
        return [View(frames=frames, height=size, width=size) for frames in self.frames for size in self.sizes]

    def draw(self, seed: int, step: int, steps: int, tasks: int) -> tuple[int, View, np.random.Generator]:
        """What step ``step`` shows: the task's index, the view, and the generator that draws its samples.

        A function of its arguments only, so every method sees the same data and a resumed run goes on
        exactly.
        """
        rng = np.random.default_rng([seed, step])
        others = (1.0 - self.first_task_share) / max(1, tasks - 1)
        shares = [1.0] if tasks == 1 else [self.first_task_share] + [others] * (tasks - 1)
        task = int(rng.choice(tasks, p=shares))
        progress = min(1.0, step / max(1.0, self.ramp * steps))
        longest = self.first_frames + progress * (max(self.frames) - self.first_frames)
        allowed = [w if n <= longest else 0.0 for n, w in zip(self.frames, self.frame_weights, strict=True)]
        frames = int(rng.choice(self.frames, p=np.array(allowed) / sum(allowed)))
        size = int(rng.choice(self.sizes, p=self.size_weights))
        return task, View(frames=frames, height=size, width=size), rng
