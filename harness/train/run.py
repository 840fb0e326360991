"""Training of one reference model: dense questions, one packed pass per step, checkpoints that resume bit
for bit.

Each step draws fresh clips; each clip's stream is packed once and every question branches off it, which is
exactly asking each question on its own. The loss is the cross-entropy of the answers (and of the end token
after one of them). The vision encoder stays frozen.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import registry
from harness.backbones import resolve
from harness.errors import InfrastructureError, UsageError
from harness.layout import PackedSample, TextSpan
from harness.models import ModelConfig, save_model, starting_config, starting_model
from harness.spec import TrainSpec
from harness.task import Sample, Task, View
from harness.train.card import write_card
from harness.train.optim import Muon, schedule, split_parameters
from harness.train.recipe import Recipe
from harness.vlm import FusedModel

Progress = Callable[[str], None]
CHECKPOINT, LOG = "checkpoint.pt", "training.json"
EVAL_EVERY, EVAL_CLIPS, EVAL_VIEW = 200, 32, View(frames=8, height=64, width=64)


def train(spec: TrainSpec, progress: Progress = print, recipe: Recipe | None = None) -> Path:
    """Train a method and return the model's folder, ``<out>/<method>/seed<seed>``.

    Goes on from a checkpoint in that folder when there is one and ``spec.resume`` is set.
    """
    recipe = recipe or Recipe()
    torch.set_num_threads(spec.threads)
    registry.discover()
    tasks = [registry.tasks.get(name)() for name in spec.tasks]
    for name, task in zip(spec.tasks, tasks, strict=True):
        _check_task(name, task, recipe)
    words = {word for task in tasks for word in task.vocabulary()}
    config = starting_config(spec.method, spec.method_config, spec.backbone, spec.seed, words)
    folder = spec.out / folder_name(spec) / f"seed{spec.seed}"
    _make(folder)
    run = _Run(spec, recipe, tasks, config, folder)
    if spec.resume:
        run.load(progress)
    elif (folder / CHECKPOINT).exists():
        (folder / CHECKPOINT).unlink()
    run.loop(progress)
    return run.finish(progress)


def _check_task(name: str, task: Task, recipe: Recipe) -> None:
    """Raise UsageError where a task has nothing to train on or refuses a view that training shows, before any
    step is spent."""
    for view in (*recipe.views, EVAL_VIEW):
        try:
            task.check_view(view)
        except UsageError as error:
            shown = f"{view.frames} frame(s) of {view.height}x{view.width} pixels"
            raise UsageError(f"training shows {shown}, which task {name!r} refuses: {error}") from error
    if not task.training_samples(EVAL_VIEW, np.random.default_rng(0), 1):
        raise UsageError(f"task {name!r} drew no training sample; its training_samples must give `count`")


def _make(folder: Path) -> None:
    """Make the model's folder and try a write, before any step is spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise InfrastructureError(
            f"cannot write to {str(folder)!r}: {error.strerror or error}; choose another folder with --out"
        ) from error


def folder_name(spec: TrainSpec) -> str:
    """The method and the settings that were given, as a folder's name."""
    settings = "+".join(f"{key}={value}" for key, value in sorted(spec.method_config.items()))
    return f"{spec.method}:{settings}" if settings else spec.method


class _Run:
    """One training run's mutable state."""

    def __init__(
        self, spec: TrainSpec, recipe: Recipe, tasks: list[Task], config: ModelConfig, folder: Path
    ) -> None:
        self.spec, self.recipe, self.tasks, self.config, self.folder = spec, recipe, tasks, config, folder
        self.steps = spec.steps or recipe.steps
        self.model = starting_model(config, resolve(spec.backbone)).train()
        matrices, rest = split_parameters(self.model, [self.model.decoder.embed.weight])
        self.parameters = matrices + rest
        decay = recipe.weight_decay
        self.optimisers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(matrices, lr=recipe.muon_lr, weight_decay=decay), recipe.muon_lr),
            (torch.optim.AdamW(rest, lr=recipe.adam_lr, weight_decay=decay, foreach=True), recipe.adam_lr),
        ]
        self.step = 0
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0
        self.curve: list[dict[str, Any]] = []

    def loop(self, progress: Progress) -> None:
        """Train from the present step to the last."""
        losses: list[float] = []
        cpu, wall = time.process_time(), time.perf_counter()
        while self.step < self.steps:
            losses.append(self.one_step())
            self.step += 1
            last = self.step == self.steps
            if self.step % EVAL_EVERY == 0 or last:
                point = {"step": self.step, "loss": float(np.mean(losses)), **self.evaluate()}
                self.curve.append(point)
                losses.clear()
                progress(
                    json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in point.items()})
                )
            if self.step % self.spec.checkpoint_every == 0 or last:
                self.cpu_seconds += time.process_time() - cpu
                self.wall_seconds += time.perf_counter() - wall
                cpu, wall = time.process_time(), time.perf_counter()
                self.save()
                progress(
                    f"{self.spec.method} seed {self.spec.seed}: step {self.step}/{self.steps}, "
                    f"{self.cpu_seconds / self.step:.2f} CPU-s a step"
                )

    def one_step(self) -> float:
        index, view, rng = self.recipe.draw(self.spec.seed, self.step, self.steps, len(self.tasks))
        samples = self.tasks[index].training_samples(view, rng, self.recipe.batch)
        factor = schedule(self.step, self.steps, self.recipe.warmup, self.recipe.decay)
        for optimiser, lr in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr * factor
            optimiser.zero_grad(set_to_none=True)
        loss = answer_loss(self.model, samples)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        for optimiser, _ in self.optimisers:
            optimiser.step()
        value = loss.item()
        if not np.isfinite(value):
            raise UsageError(
                f"training of {self.spec.method} broke at step {self.step}: the loss is {value}; "
                "the method's forward pass gives values that are not finite, or its scale is too large"
            )
        return value

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Accuracy by kind on fresh training-split clips of the first task at 8 frames, for the curve
        only."""
        rng = np.random.default_rng([2**31 - 1, self.spec.seed])
        samples = self.tasks[0].training_samples(EVAL_VIEW, rng, EVAL_CLIPS)
        features = encode_all(self.model, samples)
        answers = self.model.answer(samples, features)
        right: dict[str, list[bool]] = {}
        for sample, given in zip(samples, answers, strict=True):
            for question, answer in zip(sample.questions, given, strict=True):
                right.setdefault(question.kind, []).append(answer == question.answer)
        return {kind: float(np.mean(hits)) for kind, hits in sorted(right.items())}

    def save(self) -> None:
        """Write the checkpoint and rename it into place."""
        temporary = self.folder / f".{CHECKPOINT}.{os.getpid()}"
        state = {
            "identity": self.identity(),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser, _ in self.optimisers],
            "curve": self.curve,
            "cpu_seconds": self.cpu_seconds,
            "wall_seconds": self.wall_seconds,
        }
        try:
            torch.save(state, temporary)
            os.replace(temporary, self.folder / CHECKPOINT)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise InfrastructureError(
                f"cannot write {self.folder / CHECKPOINT} ({error}); free space or choose another --out"
            ) from error

    def load(self, progress: Progress) -> None:
        """Go on from the checkpoint, if there is one that belongs to this run."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True)
            identity = state["identity"]
        except Exception as error:
            raise UsageError(
                f"checkpoint {path} cannot be read ({type(error).__name__}); delete it or pass --no-resume"
            ) from error
        if identity != self.identity():
            raise UsageError(
                f"checkpoint {path} belongs to another run (other steps, tasks or settings); "
                "choose another --out or pass --no-resume"
            )
        self.model.load_state_dict(state["model"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.curve = state["step"], state["curve"]
        self.cpu_seconds, self.wall_seconds = state["cpu_seconds"], state["wall_seconds"]
        progress(f"{self.spec.method} seed {self.spec.seed}: going on from step {self.step}")

    def identity(self) -> str:
        """What a checkpoint must agree on to be continued."""
        parts = {
            "config": self.config.model_dump(mode="json"),
            "tasks": [
                f"{name} {task.version}" for name, task in zip(self.spec.tasks, self.tasks, strict=True)
            ],
            "steps": self.steps,
            "recipe": asdict(self.recipe),
        }
        return json.dumps(parts, sort_keys=True)

    def finish(self, progress: Progress) -> Path:
        """Write the model, its log and its card, and drop the checkpoint's optimiser state."""
        recipe = self.recipe
        trained = self.config.model_copy(
            update={
                "tasks": self.spec.tasks,
                "max_frames": max(recipe.frames),
                "heights": recipe.sizes,
                "widths": recipe.sizes,
            }
        )
        log = {
            "identity": json.loads(self.identity()),
            "parameters": self.model.parameter_count(),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "wall_seconds": round(self.wall_seconds, 1),
            "threads": self.spec.threads,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "curve": self.curve,
        }
        save_model(self.model.eval(), trained, self.folder)
        (self.folder / LOG).write_text(json.dumps(log, indent=1) + "\n")
        write_card(self.folder, trained, log)
        progress(f"{self.spec.method} seed {self.spec.seed}: wrote {self.folder}")
        return self.folder


def encode_all(model: FusedModel, samples: Sequence[Sample]) -> list[Tensor]:
    """Every sample's features [F, N, D], encoded in one pass (all frames are of one size)."""
    counts = [len(sample.stream.frames) for sample in samples]
    pixels = np.stack([frame.pixels for sample in samples for frame in sample.stream.frames])
    return list(torch.split(model.encode(torch.from_numpy(pixels)), counts))


def answer_loss(model: FusedModel, samples: Sequence[Sample]) -> Tensor:
    """Mean cross-entropy of every question's answer, and of the end token after each sample's first
    answer."""
    packed, targets = [], []
    for sample, features in zip(samples, encode_all(model, samples), strict=True):
        branches = []
        for number, question in enumerate(sample.questions):
            prompt, answer = model.token_ids(question.prompt), model.token_ids(question.answer)
            taught = torch.cat((answer, answer.new_tensor([model.eos]))) if number == 0 else answer
            ids = torch.cat((prompt, taught[:-1]))
            branches.append(TextSpan(ids))
            ignored = torch.full((len(prompt) - 1,), -100)
            targets.append(torch.cat((ignored, taught.cpu())))
        packed.append(PackedSample(model.spans(sample.stream, features), tuple(branches)))
    h_rd, layout = model.fusion.run(packed, model.decoder)
    wanted = torch.cat(targets)
    supervised = torch.from_numpy(np.flatnonzero(layout.rows.branch > 0))[wanted != -100].to(h_rd.device)
    return cross_entropy(model.decoder.logits(h_rd[supervised]), wanted[wanted != -100].to(h_rd.device))
