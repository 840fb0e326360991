"""What a run is asked to do: one typed specification that the Python API and the command line share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from harness import settings
from harness.errors import UsageError, storable
from harness.files import cache_folder

WeightsPolicy = Literal["trained", "random"]
DType = Literal["float32", "bfloat16", "float16"]

DEFAULT_BACKBONE = "tiny-qwen3"
DEFAULT_FRAMES = (1, 2, 4, 8)
DEFAULT_RESOLUTIONS = ((64, 64),)
_GREATEST = 2**31 - 1
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_NAME = re.compile(r"[\w.-]+")
_MEMBER = re.compile(r"([\w.-]+:[\w.-]+)(?:[:+](.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedSpec:
    """A registered name with settings: ``casa`` or ``casa:gists=4+window_size=128`` as text."""

    families: ClassVar[bool] = False
    """Whether a name may be FAMILY:NAME, whose settings follow after a plus: FAMILY:NAME+FIELD=VALUE."""

    name: str
    config: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        member = self.families and _MEMBER.fullmatch(self.name)
        if not _NAME.fullmatch(self.name) and not (member and member[2] is None):
            raise UsageError(f"{self.name!r} is not a name; write NAME or NAME:FIELD=VALUE+FIELD=VALUE")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the command line's form; values stay text until the config's types are known."""
        name, colon, rest = text.partition(":")
        member = _MEMBER.fullmatch(text.strip()) if cls.families else None
        if member is not None and not (member[2] is None and text.endswith(("+", ":"))):
            name, rest = member[1], member[2] or ""
            colon = ":" if member[2] is not None else ""
        name = name.strip()
        config: dict[str, object] = {}
        for part in settings.split(rest, "+") if colon else []:
            key, equals, value = part.partition("=")
            if not equals or not key.isidentifier():
                raise UsageError(
                    f"{part!r} in {text!r} is not a setting; write "
                    f"{name}{_sign(name)}FIELD=VALUE+FIELD=VALUE (a plus inside a value is doubled)"
                )
            if key in config:
                raise UsageError(f"{key!r} is set twice in {text!r}; set it once")
            config[key] = value
        return cls(name, config)

    @classmethod
    def parse_list(cls, texts: Sequence[str]) -> tuple[Self, ...]:
        """Read options that may be repeated and may each hold several, separated by commas."""
        return tuple(cls.parse(part) for text in texts for part in settings.split(text, ",") if part.strip())

    def __str__(self) -> str:
        parts = [f"{key}={settings.to_text(value)}" for key, value in self.config.items()]
        return f"{self.name}{_sign(self.name)}{settings.join(parts, '+')}" if parts else self.name


class MethodSpec(NamedSpec):
    """A fusion method and the settings that differ from its defaults."""

    __slots__ = ()


class TaskSpec(NamedSpec):
    """A task, which may be one of a family (``lmms:muirbench``), and the settings that differ from its
    defaults."""

    families: ClassVar[bool] = True
    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class EvalSpec:
    """An evaluation: the full grid of tasks, resolutions, frames, seeds and methods.

    Raises UsageError when constructed with a value that cannot be used. Names are checked when the grid is
    planned, since plugins may add to them.
    """

    tasks: tuple[TaskSpec, ...]
    methods: tuple[MethodSpec, ...] = ()
    """Empty: every registered method."""
    frames: tuple[int, ...] = DEFAULT_FRAMES
    resolutions: tuple[tuple[int, int], ...] = DEFAULT_RESOLUTIONS
    """Height and width in pixels."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the models."""
    view_seed: int = 0
    """Seed of the frame sampler."""
    limit: int | None = None
    """Most samples per task; None takes all."""
    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    """Each a registered name; the folder of a decoder's checkpoint or of a fused model; or a published
    vision-language checkpoint with its own fusion, as ``hub:ORG/NAME``, ``hub:ORG/NAME@REVISION`` or a
    folder. Of several, each gets the methods that belong on it."""
    trust_remote_code: bool = False
    """Run code that a published checkpoint brings; only pinned to a commit."""
    models: tuple[Path, ...] = ()
    """Folders searched for trained weights before the shipped ones."""
    weights: WeightsPolicy = "trained"
    device: str = "cpu"
    dtype: DType = "float32"
    batch: int = 16
    out: Path | None = None
    """None: a folder below ``results/runs`` that the same command finds again, to go on where it stopped."""
    plugins: tuple[Path, ...] = ()
    resume: bool = True
    """Keep cells that are measured already; failed cells are tried again."""
    timeout_s: float = 900.0
    """Longest time for one cell."""
    threads: int = 1
    """CPU threads of a cell. One by default, so that times do not depend on how many cores a machine has."""
    cache_dir: Path | None = None
    data: Path | None = None
    """Where the data of every task lies that has a setting ``data`` and is given none of its own: one folder
    for all, or a folder of folders that are named after the tasks."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("no task is given; name at least one, for example --task videoqa")
        if not self.backbones:
            raise UsageError(f"no backbone is given; name at least one, for example {DEFAULT_BACKBONE}")
        for kind, given in ((TaskSpec, self.tasks), (MethodSpec, self.methods)):
            for item in given:
                if not isinstance(item, kind):
                    raise UsageError(f"{item!r} is not a {kind.__name__}; write {kind.__name__}.parse(...)")
        for name, numbers, least in (("frames", self.frames, 1), ("seed", self.seeds, 0)):
            check_numbers(name, numbers, least)
        check_numbers("view-seed", (self.view_seed,), 0)
        for size in self.resolutions:
            check_numbers("resolution", size, 1)
        if not self.resolutions:
            raise UsageError("no resolution is given; give at least one, for example 64 or 48x64")
        check_numbers("batch", (self.batch,), 1)
        check_numbers("limit", () if self.limit is None else (self.limit,), 1, empty=True)
        check_numbers("threads", (self.threads,), 1)
        if not self.timeout_s > 0:
            raise UsageError(f"timeout {self.timeout_s:g} is not usable; give a number of seconds above 0")
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"unknown device {self.device!r}: give cpu, cuda or cuda:N")
        check_choice("dtype", self.dtype, get_args(DType))
        check_choice("weights", self.weights, get_args(WeightsPolicy))
        for name in ("tasks", "methods", "backbones", "models", "plugins"):
            check_text(name, *getattr(self, name))
        for name in ("data", "out", "cache_dir"):
            check_text(name, getattr(self, name))

    @property
    def out_dir(self) -> Path:
        """Where records go; by default a folder named after the tasks and all that a grid has but one of."""
        if self.out is not None:
            return self.out
        parts = ["+".join(dict.fromkeys(task.name.replace(":", "-") for task in self.tasks))]
        if any(task.config for task in self.tasks):
            parts.append(hashlib.sha256(" ".join(map(str, self.tasks)).encode()).hexdigest()[:8])
        if self.backbones != EvalSpec.backbones:
            parts.append("+".join(map(_folder_part, dict.fromkeys(self.backbones))))
        for name in ("weights", "limit", "view_seed", "batch", "dtype", "device"):
            value = getattr(self, name)
            if value != getattr(EvalSpec, name):
                parts.append(f"{name}={value}" if isinstance(value, int) else _folder_part(str(value)))
        return Path("results") / "runs" / "-".join(parts)

    @property
    def cache(self) -> Path:
        return self.cache_dir if self.cache_dir is not None else cache_folder()


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """The training of one reference model. ``steps`` None takes the recipe's own number."""

    method: str
    method_config: Mapping[str, object]
    backbone: str = DEFAULT_BACKBONE
    tasks: tuple[str, ...] = ("videoqa", "multi_image")
    steps: int | None = None
    seed: int = 0
    out: Path
    threads: int = 1
    checkpoint_every: int = 100
    resume: bool = True

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("no task to train on is given; name at least one, for example --task videoqa")
        check_numbers("steps", () if self.steps is None else (self.steps,), 1, empty=True)
        check_numbers("seed", (self.seed,), 0)
        check_numbers("threads", (self.threads,), 1)
        check_numbers("checkpoint-every", (self.checkpoint_every,), 1)


def _sign(name: str) -> str:
    """What stands between a name and its settings: a family's member has its colon already."""
    return "+" if ":" in name else ":"


def _folder_part(text: str) -> str:
    """A text as part of a folder's name; a path becomes its last part and a hash of the whole."""
    path = Path(text)
    if len(path.parts) < 2 and text == path.name:
        return text.replace(":", "")
    return f"{path.name}-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]}"


def parse_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Names or paths from options that may be repeated and may each hold several, separated by commas; a
    comma inside one is doubled."""
    parts = (part.strip() for text in texts for part in settings.split(text, ","))
    return tuple(part for part in parts if part)


def parse_ints(name: str, texts: Sequence[str]) -> tuple[int, ...]:
    """Whole numbers from options that may be repeated and may each hold several, separated by commas."""
    return tuple(_parse_int(name, part) for text in texts for part in text.split(",") if part.strip())


def parse_resolutions(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """``64`` is 64 by 64 pixels, ``48x64`` is height 48 and width 64; several are separated by commas."""
    sizes = []
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        height, cross, width = part.lower().partition("x")
        rows = _parse_int("resolution", height)
        sizes.append((rows, _parse_int("resolution", width) if cross else rows))
    return tuple(sizes)


def check_text(name: str, *values: object) -> None:
    """Raise UsageError for a name or path with bytes that are not UTF-8, which no record can hold."""
    for value in values:
        shown = storable(str(value))
        if shown != str(value):
            raise UsageError(f"{name} {shown!r} is not UTF-8; rename what it names")


def check_choice(name: str, value: str, options: Sequence[str]) -> None:
    if value not in options:
        raise UsageError(f"unknown {name} {value!r}: give one of {', '.join(options)}")


def _parse_int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"{name} {text.strip()!r} is not a whole number; write for example 8 or 1,2,4"
        ) from None


def check_numbers(name: str, values: Sequence[int], least: int, *, empty: bool = False) -> None:
    if not values and not empty:
        raise UsageError(f"no {name} is given; give at least one number")
    for value in values:
        if value < least:
            raise UsageError(f"{name} {value} is not usable; the least is {least}")
        if value > _GREATEST:
            raise UsageError(f"{name} {value} is not usable; the greatest is {_GREATEST}")
