"""``harness graft``: put a fusion method on the checkpoint of a language model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from harness.cli.errors import Debug, guarded, warn_broken
from harness.encoders import SHIPPED_ENCODER, EncoderSpec
from harness.errors import UsageError
from harness.spec import DType, MethodSpec, check_choice

if TYPE_CHECKING:
    from torch import nn

    from harness.models import Grafted


def graft_command(
    method: Annotated[str, typer.Option(help="Method, as NAME or NAME:FIELD=VALUE+FIELD=VALUE.")],
    backbone: Annotated[
        Path,
        typer.Option(
            help="Checkpoint folder of a decoder: config.json, *.safetensors (with an index where there are "
            "several), tokenizer.json."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New or empty folder for the fused model.")],
    encoder: Annotated[
        str,
        typer.Option(
            help="Vision encoder: patch (shipped), or siglip:DIR or qwen2.5-vl:DIR with the folder of its "
            "checkpoint."
        ),
    ] = SHIPPED_ENCODER,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the connector and of what else is new.")] = 0,
    dtype: Annotated[
        str | None,
        typer.Option(help="Precision to save in.", show_default="the checkpoint's"),
    ] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file that registers more.")] = None,
    debug: Debug = False,
) -> None:
    """Put a fusion method on a language model's checkpoint, and save the whole as one folder.

    The decoder and the encoder keep their weights; the method's layers start as its paper says, mostly from
    the decoder's own self-attention; the connector is random. Measure the folder with `harness eval
    --backbone OUT`, train it with `harness train --backbone OUT`. To compare methods on one decoder, graft
    each below one folder and give `harness eval --backbone DECODER --models FOLDER`.
    """
    with guarded(debug):
        chosen, tower = MethodSpec.parse(method), EncoderSpec.parse(encoder)
        if dtype is not None:
            check_choice("dtype", dtype, get_args(DType))
        _check_out(out)
        from harness import registry
        from harness.lookup import lookup
        from harness.models import graft, save_model

        broken = registry.require(plugin or ())
        warn_broken(broken, debug)
        lookup(registry.methods, chosen.name, broken)
        lookup(registry.encoders, tower.type, broken)
        made = graft(chosen.name, chosen.config, str(backbone), tower, seed, dtype)
        save_model(made.model, made.config, out)
        _print(made, chosen, tower, backbone, out)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"out {str(out)!r} is not an empty folder, and nothing is overwritten; choose another --out"
        )


def _print(made: Grafted, method: MethodSpec, encoder: EncoderSpec, backbone: Path, out: Path) -> None:
    model = made.model
    decoder, connector, fusion = _count(model.decoder), _count(model.connector), _count(model.fusion)
    total = decoder + connector + fusion
    source = "shipped" if encoder.weights is None else f"from {encoder.weights}"
    seed = f" --seed {made.config.seed}" if made.config.seed else ""
    lines = {
        "decoder": f"{made.architecture} from {backbone}: {decoder:,} parameters taken over; its blocks give "
        f"transformers' own logits (largest difference {made.difference:.0e} of the largest logit)",
        "encoder": f"{encoder.type}, {source}: {_count(model.encoder):,} parameters taken over, frozen",
        "method": f"{method}: {fusion:,} new parameters, initialised as the method says",
        "connector": f"{connector:,} new parameters, random from seed {made.config.seed}",
        "new": f"{fusion + connector:,} of {total:,} trained parameters "
        f"({100 * (fusion + connector) / total:.1f} %)",
        "model": str(out),
        "next": f"harness train --backbone {shlex.quote(str(out))} --method {shlex.quote(str(method))}{seed} "
        "--out DIR",
        "or": f"harness eval --backbone {shlex.quote(str(out))} --task videoqa{seed}",
    }
    for name, text in lines.items():
        typer.echo(f"{name:<9}  {text}")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
