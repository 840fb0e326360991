"""What to time: methods, sizes and rounds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.spec import (
    DEFAULT_BACKBONE,
    DEFAULT_RESOLUTIONS,
    DType,
    EvalSpec,
    MethodSpec,
    TaskSpec,
    WeightsPolicy,
    check_numbers,
)


@dataclass(frozen=True, kw_only=True)
class TimingSpec:
    """Methods that are timed together, over sizes. Raises UsageError when constructed with a value that
    cannot be used.

    Names are checked when the run is planned, since plugins may add to them.
    """

    methods: tuple[MethodSpec, ...] = ()
    """Empty: every registered method. One that is named twice is timed as two copies."""
    task: TaskSpec | None = dataclasses.field(default_factory=lambda: TaskSpec("videoqa"))
    """Where the stream is from; None takes frames of noise, of which there are any number."""
    frames: tuple[int, ...] = (1, 2, 4, 8, 16)
    resolutions: tuple[tuple[int, int], ...] = DEFAULT_RESOLUTIONS
    """Height and width in pixels."""
    rounds: int = 30
    order_seed: int = 0
    """Of the methods' order in the rounds."""
    seed: int = 0
    """Of the models."""
    view_seed: int = 0
    limit: int | None = 8
    """Samples among which the stream is chosen; None takes all of the task."""
    backbone: str = DEFAULT_BACKBONE
    models: tuple[Path, ...] = ()
    weights: WeightsPolicy = "trained"
    device: str = "cpu"
    dtype: DType = "float32"
    out: Path
    plugins: tuple[Path, ...] = ()
    resume: bool = True
    """Keep sizes at which every method was timed in at least as many rounds."""
    timeout_s: float = 1800.0
    """Longest time for one size."""
    threads: int = 1
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        check_numbers("rounds", (self.rounds,), 1)
        check_numbers("order-seed", (self.order_seed,), 0)
        if len(set(self.frames)) != len(self.frames):
            raise UsageError(f"frames {','.join(map(str, self.frames))} name a number twice; give each once")
        # What an evaluation has too is checked by its own rules.
        _ = self.grid

    @property
    def grid(self) -> EvalSpec:
        """The models and sizes as an evaluation's."""
        shared = {field.name for field in dataclasses.fields(EvalSpec)}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        own = {
            "tasks": (self.task or TaskSpec("synthetic"),),
            "backbones": (self.backbone,),
            "seeds": (self.seed,),
            "batch": 1,
        }
        return EvalSpec(**{name: value for name, value in values.items() if name in shared} | own)
