"""What the gate checks: ``harness.toml``, or ``[tool.harness]`` in ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.counting.records import Kernels, Mode
from harness.counting.spec import CountSpec, check_ascending
from harness.errors import UsageError, unknown
from harness.scaling import Axis
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, check_numbers, parse_resolutions

FILE: Final = "harness.toml"
PYPROJECT: Final = "pyproject.toml"
DEFAULT_BASELINE: Final = "harness-baseline.json"
LEAST_SIZES: Final = 3
"""An order needs three sizes."""

_EXAMPLE = 'methods = ["casa"]'


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tolerance(_Table):
    """How far a figure may be off."""

    order: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.05
    relative: Annotated[float, Field(ge=0, le=0.1, allow_inf_nan=False)] = 0.005
    """Of a cell's bytes in the baseline; the larger of the two tolerances for bytes counts."""
    bytes: Annotated[int, Field(ge=0, le=2**30)] = 64 * 1024


DeclaredOrder = Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)]


class Declared(_Table):
    """Orders in place of those that a method's class declares; None keeps the class's."""

    prefill_frames: DeclaredOrder | None = None
    prefill_pixels: DeclaredOrder | None = None
    streaming_frames: DeclaredOrder | None = None
    streaming_pixels: DeclaredOrder | None = None

    def on(self, mode: Mode, axis: Axis) -> float | None:
        value: float | None = getattr(self, declaration_name(mode, axis))
        return value


class Ratio(_Table):
    """``method``'s peak is at most ``most`` times that of the method ``of``."""

    method: str
    of: str
    mode: Mode
    most: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    frames: tuple[int, ...] | None = None
    """At these numbers of frames; None at the largest only, where weights weigh least."""


class GateConfig(_Table):
    """The file's content; every key has a default."""

    methods: tuple[str, ...] = ()
    """NAME or NAME:FIELD=VALUE+FIELD=VALUE; empty for every registered method."""
    backbone: str = DEFAULT_BACKBONE
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = ("prefill", "stream")
    frames: tuple[int, ...] = (4, 8, 16, 32, 64)
    resolution: tuple[int | str, ...] = (64,)
    """Pixels: 64, or "HEIGHTxWIDTH"."""
    text: int = 16
    text_per_frame: tuple[int, ...] = (0,)
    """0 is the regime of fixed text, which orders are measured at; bytes are compared in every one."""
    axes: tuple[Axis, ...] | None = None
    """Whose orders are checked; None: frames, and pixels where three resolutions are given."""
    encode_batch: int = 1
    dtype: DType = "bfloat16"
    kernels: Kernels = "cuda"
    optimizer: str = CountSpec.optimizer
    plugins: tuple[str, ...] = ()
    """Python files that register methods; relative to the file's folder."""
    baseline: Annotated[str, Field(min_length=1)] = DEFAULT_BASELINE
    """Relative to the file's folder."""
    tolerance: Tolerance = Tolerance()
    declared: dict[str, Declared] = Field(default_factory=dict)
    """By the method's name."""
    ratio: tuple[Ratio, ...] = ()
    known_failures: tuple[str, ...] = ()
    """Methods that cannot be counted, which a new baseline may therefore hold as failed."""
    loose_declarations: Literal["note", "fail"] = "note"
    """What follows where a method declares half an order more than is measured."""

    @property
    def checked_axes(self) -> tuple[Axis, ...]:
        if self.axes is not None:
            return self.axes
        many = len({height * width for height, width in self.resolutions}) >= LEAST_SIZES
        return ("frames", "pixels") if many else ("frames",)

    @property
    def resolutions(self) -> tuple[tuple[int, int], ...]:
        return parse_resolutions([str(size) for size in self.resolution])

    def specs(self, folder: Path) -> tuple[CountSpec, ...]:
        """What to count, one grid for each regime of text; raises UsageError."""
        return tuple(
            CountSpec(
                methods=MethodSpec.parse_list(self.methods),
                backbone=self.backbone,
                modes=self.modes,
                frames=self.frames,
                resolutions=self.resolutions,
                text=self.text,
                text_per_frame=tokens,
                encode_batch=self.encode_batch,
                dtype=self.dtype,
                kernels=self.kernels,
                optimizer=self.optimizer,
                plugins=tuple(folder / plugin for plugin in self.plugins),
            )
            for tokens in self.text_per_frame
        )

    def grid(self) -> dict[str, Any]:
        """What decides which cells there are, as JSON: a baseline of another grid lacks cells rightly."""
        return self.model_dump(
            mode="json",
            exclude={
                "axes",
                "baseline",
                "tolerance",
                "declared",
                "ratio",
                "known_failures",
                "loose_declarations",
            },
        )


def declaration_name(mode: Mode, axis: Axis) -> str:
    """The field of a declaration that speaks of a mode and an axis."""
    return f"{'prefill' if mode in ('prefill', 'train') else 'streaming'}_{axis}"


def find_config(start: Path) -> Path:
    """The nearest ``harness.toml``, or ``pyproject.toml`` with a table ``[tool.harness]``, from a folder
    upwards; in the same folder the former counts."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
        project = folder / PYPROJECT
        if project.is_file() and _harness_table(_read_toml(project)) is not None:
            return project
    raise UsageError(
        f"no {FILE} and no {PYPROJECT} with [tool.harness] in {str(start)!r} or above; "
        f"write one, for example with the line {_EXAMPLE}, or give --config FILE"
    )


def load_config(path: Path) -> GateConfig:
    """Read and check the file; raises UsageError that names the key, the value and the rule."""
    document: dict[str, Any] | None = _read_toml(path)
    assert document is not None
    if path.name == PYPROJECT:
        document = _harness_table(document)
        if document is None:
            raise UsageError(f"{str(path)!r} has no table [tool.harness]; add it, or give another --config")
    return parse_config(document, str(path))


def parse_config(document: dict[str, Any], source: str) -> GateConfig:
    """A config from a parsed document; ``source`` names it in errors."""
    document = dict(document)
    tokens = document.get("text_per_frame")
    if isinstance(tokens, int) and not isinstance(tokens, bool):
        document["text_per_frame"] = [tokens]
    try:
        config = GateConfig.model_validate(_tuples(document))
    except ValidationError as error:
        raise _explained(error, source) from None
    try:
        _check(config)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    return config


def _tuples(value: object) -> object:
    """TOML has arrays, a frozen config has tuples."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _check(config: GateConfig) -> None:
    """What a type cannot say."""
    config.specs(Path())
    check_numbers("text_per_frame", config.text_per_frame, 0)
    check_ascending("text_per_frame", config.text_per_frame)
    pixels = {height * width for height, width in config.resolutions}
    sizes = {"frames": len(config.frames), "pixels": len(pixels)}
    for axis in config.checked_axes:
        if sizes[axis] < LEAST_SIZES:
            raise UsageError(
                f"the order over {axis} needs {LEAST_SIZES} sizes, but {sizes[axis]} "
                f"{'is' if sizes[axis] == 1 else 'are'} given; give more, or say which axes to check, as in "
                'axes = [] or axes = ["frames"]'
            )
    if config.checked_axes and 0 not in config.text_per_frame:
        raise UsageError("orders are measured at fixed text, so text_per_frame must hold 0; add it")
    for ratio in config.ratio:
        for frames in ratio.frames or ():
            if frames not in config.frames:
                raise UsageError(f"ratio of {ratio.method}: {frames} is not in frames; add it there")
        if ratio.mode not in config.modes:
            raise UsageError(f"ratio of {ratio.method}: mode {ratio.mode!r} is not in modes; add it there")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{str(path)!r} does not exist; give the gate's TOML file with --config") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)!r} cannot be read as TOML ({error}); correct it") from error


def _harness_table(document: dict[str, Any]) -> dict[str, Any] | None:
    tool = document.get("tool")
    table = tool.get("harness") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _explained(error: ValidationError, source: str) -> UsageError:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    where = ".".join(place)
    if first["type"] == "extra_forbidden":
        table = f"[{place[0]}]" if len(place) > 1 else ""
        return UsageError(f"{source}: {unknown('key', place[-1], _known_keys(place), of=table)}")
    rule = first["msg"].removeprefix("Input ").replace("a valid tuple", "an array")
    if first["type"] == "missing":
        return UsageError(f"{source}: {where} is missing; add it")
    return UsageError(f"{source}: {where} = {first['input']!r} is not usable; it {rule}")


def _known_keys(place: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {"tolerance": Tolerance, "declared": Declared, "ratio": Ratio}
    table = tables.get(place[0], GateConfig) if len(place) > 1 else GateConfig
    return list(table.model_fields)
