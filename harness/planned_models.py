"""Which method runs on which backbone, from which weights.

On one backbone every method that is named is planned; one that cannot run there is skipped with the reason.
Of several backbones each gets the methods that belong on it: what nobody named as a pair is left out, and the
plan says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.errors import UsageError
from harness.inputs import inputs_of
from harness.lookup import lookup, lookup_backbone, require_device
from harness.published_models import CHECKPOINT, METHOD, NOT_PUBLISHED, PublishedConfig
from harness.records import Inputs
from harness.settings import build_config, changed, config_json
from harness.spec import EvalSpec, MethodSpec

if TYPE_CHECKING:
    from harness.encoders import EncoderSpec
    from harness.modelfiles import ModelConfig
    from harness.published_models.planning import PublishedPlan
    from harness.registry import BrokenPlugin

NO_WEIGHTS = "none"
"""Stands for the weights' digest in the key of a cell that is skipped for want of trained weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A method on a backbone: what a cell's key says of it, where its weights lie, and why there are none."""

    method: str
    method_config: dict[str, Any]
    backbone: str
    seed: int
    weights: str
    weights_path: Path | None
    backbone_path: Path | None
    inputs: Inputs
    missing: str | None
    encoder: EncoderSpec | None = None
    """None where it is not known before the model is loaded: a grafted or published one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModels:
    """Backbones outermost, then seeds, methods innermost; ``left_out`` says in words which pairs are not
    planned."""

    models: tuple[PlannedModel, ...]
    left_out: str | None


@dataclass(frozen=True, slots=True)
class _Method:
    spec: MethodSpec
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backbone:
    """A backbone as ``asked`` for, what ``CellKey.backbone`` says, the folder that it came from, and whether
    that is a whole model: fused here, or published."""

    asked: str
    name: str
    folder: Path | None = None
    fused: ModelConfig | None = None
    published: PublishedPlan | None = None
    encoder: EncoderSpec | None = None

    @property
    def own(self) -> MethodSpec | None:
        """The method of a whole model."""
        if self.published is not None:
            return MethodSpec(METHOD)
        return None if self.fused is None else MethodSpec(self.fused.method, self.fused.method_config)

    def runs(self, method: _Method) -> bool:
        """Whether the method belongs on this backbone."""
        if self.fused is not None:
            return (method.spec.name, method.config) == (self.fused.method, self.fused.method_config)
        return (method.spec.name == METHOD) == (self.published is not None)

    def seeds(self, spec: EvalSpec) -> tuple[int, ...]:
        """The seeds that there can be weights for: whole models have one set of them."""
        if self.own is None or spec.weights == "random":
            return spec.seeds
        return spec.seeds[:1] if self.fused is None else (self.fused.seed,)


@dataclass(frozen=True, slots=True)
class _Weights:
    """What ``CellKey.weights`` says, where the weights lie, and why there are none."""

    digest: str
    path: Path | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is planned on a backbone, and what of what was named is not."""

    methods: tuple[_Method, ...]
    seeds: tuple[int, ...]
    unfit: tuple[str, ...] = ()
    surplus: tuple[int, ...] = ()


def plan_models(spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> PlannedModels:
    """Every method for every seed on every backbone that it belongs on, with the weights that are there.

    Raises UsageError for an unknown name or setting and for a backbone that none of the methods belongs on,
    InfrastructureError for a device that is not there.
    """
    backbones = [_backbone(name, spec, broken) for name in dict.fromkeys(spec.backbones)]
    choose = _everything if len(backbones) == 1 else _fitting
    choices = [choose(backbone, spec, broken) for backbone in backbones]
    require_device(spec.device)
    models = []
    for backbone, choice in zip(backbones, choices, strict=True):
        inputs = inputs_of(spec, backbone.asked if backbone.folder is not None else None)
        for seed in choice.seeds:
            for method in choice.methods:
                found = _weights(method, seed, spec, backbone)
                models.append(
                    PlannedModel(
                        method=method.spec.name,
                        method_config=method.config,
                        backbone=backbone.name,
                        seed=seed,
                        weights=found.digest,
                        weights_path=found.path,
                        backbone_path=backbone.folder,
                        inputs=inputs,
                        missing=found.missing,
                        encoder=backbone.encoder,
                    )
                )
    _check_apart(models)
    return PlannedModels(models=tuple(models), left_out=_left_out(backbones, choices))


def _check_apart(models: Sequence[PlannedModel]) -> None:
    """Raise UsageError for two models that only their weights tell apart: every table would mix them."""
    first: dict[tuple[object, ...], PlannedModel] = {}
    for model in models:
        place = (model.method, str(model.method_config), model.backbone, model.seed)
        other = first.setdefault(place, model)
        if other.weights != model.weights:
            name = f"method {model.method!r} seed {model.seed} on {model.backbone}"
            raise UsageError(
                f"{other.backbone_path} and {model.backbone_path} are both {name}, with different weights, "
                "and would be one row of every table; give one of the folders another name where the model "
                "is published (a link will do), or measure them into different --out folders"
            )


def _everything(backbone: _Backbone, spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> _Choice:
    """Every method and seed that is named: what cannot run is skipped with the reason."""
    return _Choice(_methods(spec.methods or _defaults(backbone), backbone, broken), spec.seeds)


def _fitting(backbone: _Backbone, spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> _Choice:
    """Of what is named, what belongs on this backbone; a whole model runs its own method in any case."""
    named = _methods(spec.methods, backbone, broken)
    fit = tuple(method for method in named if backbone.runs(method))
    if not fit and (backbone.own is not None or not named):
        fit = _methods(_defaults(backbone), backbone, broken)
    if not fit:
        raise UsageError(
            f"none of the methods named ({', '.join(str(method.spec) for method in named)}) runs on backbone "
            f"{backbone.asked!r}; name a fusion method too, or leave that backbone out"
        )
    seeds = backbone.seeds(spec)
    return _Choice(
        fit,
        seeds,
        tuple(str(method.spec) for method in named if method not in fit),
        tuple(seed for seed in spec.seeds if seed not in seeds),
    )


def _left_out(backbones: Sequence[_Backbone], choices: Sequence[_Choice]) -> str | None:
    """Every pair that was not planned, in one sentence."""
    unfit: dict[tuple[str, ...], list[str]] = {}
    surplus: dict[tuple[int, ...], list[str]] = {}
    for backbone, choice in zip(backbones, choices, strict=True):
        if choice.unfit:
            unfit.setdefault(choice.unfit, []).append(backbone.name)
        if choice.surplus:
            surplus.setdefault(choice.surplus, []).append(backbone.name)
    parts = [f"{', '.join(methods)} on {', '.join(names)}" for methods, names in unfit.items()]
    parts += [f"seed {', '.join(map(str, seeds))} of {', '.join(names)}" for seeds, names in surplus.items()]
    if not parts:
        return None
    return f"left out: {'; '.join(parts)} (whole models run with their own fusion and one set of weights)"


def _methods(
    specs: Sequence[MethodSpec], backbone: _Backbone, broken: Sequence[BrokenPlugin]
) -> tuple[_Method, ...]:
    return tuple(_method(spec, backbone, broken) for spec in specs)


def _method(spec: MethodSpec, backbone: _Backbone, broken: Sequence[BrokenPlugin]) -> _Method:
    known = PublishedConfig if spec.name == METHOD else lookup(registry.methods, spec.name, broken).Config
    config = build_config(known, spec.config, f"method {spec.name!r}")
    own = {}
    if backbone.published is not None and spec.name == METHOD:
        own = {CHECKPOINT: backbone.published.checkpoint.title}
    return _Method(MethodSpec(spec.name, changed(config)), {**own, **config_json(config)})


def _backbone(name: str, spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> _Backbone:
    from harness.backbones import is_folder
    from harness.published_models.names import is_published

    if is_published(name):
        from harness.published_models.planning import PublishedPlan

        published = PublishedPlan.of(name, spec)
        found = published.checkpoint
        return _Backbone(asked=found.pinned, name=found.name, folder=found.folder, published=published)
    known = lookup_backbone(name, broken)
    if not is_folder(name):
        return _Backbone(asked=name, name=name, encoder=known.encoder)
    from harness.modelfiles import read_config

    fused = read_config(known.folder) if known.fused and known.folder is not None else None
    encoder = known.encoder if fused is not None else None
    return _Backbone(asked=name, name=known.name, folder=known.folder, fused=fused, encoder=encoder)


def _defaults(backbone: _Backbone) -> tuple[MethodSpec, ...]:
    """A whole model's own method, else every registered one."""
    if backbone.own is not None:
        return (backbone.own,)
    if not len(registry.methods):
        raise UsageError("no fusion method is registered; add one with --plugin FILE")
    return tuple(MethodSpec(name) for name in registry.methods)


def _weights(method: _Method, seed: int, spec: EvalSpec, backbone: _Backbone) -> _Weights:
    if backbone.published is not None:
        missing = backbone.published.why_not(method.spec.name, seed)
        digest = NO_WEIGHTS if missing else backbone.published.digest
        return _Weights(digest, None if digest in (NO_WEIGHTS, "random") else backbone.folder, missing)
    if method.spec.name == METHOD:
        return _Weights(NO_WEIGHTS, missing=NOT_PUBLISHED.format(backbone=backbone.asked))
    if spec.weights == "random":
        return _Weights("random")
    from harness import models

    own = (backbone.folder,) if backbone.folder is not None and backbone.fused is not None else ()
    path = models.find_weights(method.spec.name, method.config, backbone.name, seed, (*own, *spec.models))
    if path is not None:
        return _Weights(models.weights_digest(path), path.resolve())
    settings = " ".join(str(method.spec).replace(":", " ", 1).split("+"))
    return _Weights(
        NO_WEIGHTS,
        missing=f"no trained weights for {settings} seed {seed}{_how_to_get(method, seed, backbone)}, "
        "or measure cost only with --weights random",
    )


def _how_to_get(method: _Method, seed: int, backbone: _Backbone) -> str:
    """How to come by the weights of a method on a backbone."""
    of = f"--method {shlex.quote(str(method.spec))}"
    if backbone.folder is None:
        return f"; train them with `harness train {of} --seed {seed} --out DIR` and pass --models DIR"
    if backbone.fused is not None:
        found = backbone.fused
        return (
            f" in {backbone.folder}, which holds {found.method} seed {found.seed} only; "
            f"leave out --methods and give --seed {found.seed}"
        )
    folder = shlex.quote(str(backbone.folder))
    return (
        f" on {backbone.name}; make them with "
        f"`harness graft {of} --backbone {folder} --seed {seed} --out DIR` and pass --models DIR"
    )
