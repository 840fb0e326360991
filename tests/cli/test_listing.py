"""What ``harness list methods`` says beyond names and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import registry
from harness.backbones import resolve
from harness.backbones.decoder import Decoder
from harness.cli import app
from harness.cli.methods import memory_in_words, trained_models
from harness.cli.shapes import parameters_added, shape_only
from harness.errors import UsageError
from harness.fusion import FusionMethod, MemoryOrder
from harness.layout import Layout
from harness.modelfiles import CONFIG, WEIGHTS
from harness.models import SHIPPED, ModelConfig, new_config
from harness.registry import register_method


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def broken_method() -> Iterator[str]:
    """A registered method that cannot be built."""
    registry.discover()
    known = list(registry.methods)

    @register_method("broken_here")
    class Broken(FusionMethod):
        summary, paper = "breaks", "none"
        memory = MemoryOrder(prefill_frames=0, prefill_pixels=1, streaming_frames=2, streaming_pixels=0)

        def __init__(self, config: object, decoder: object) -> None:
            raise RuntimeError("planted\nsecond line")

        def lay_out(self, samples: object, cursors: object, width: int) -> Layout:
            raise NotImplementedError

    yield Broken.name
    registry.methods.keep(known)


def test_growth_in_words() -> None:
    memory = MemoryOrder(prefill_frames=2, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    assert memory_in_words(memory) == {
        "prefill": "quadratic in frames, linear in pixels",
        "streaming": "constant in frames, linear in pixels",
    }


def test_the_decoder_that_is_counted_has_the_real_one_s_parameters() -> None:
    registry.discover()
    spec = resolve("tiny-qwen3")
    real = Decoder(spec.config(spec.intermediate_size, spec.tokenizer().get_vocab_size()))
    shapes = [{n: p.shape for n, p in d.named_parameters()} for d in (real, shape_only("tiny-qwen3"))]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("method", "added"),
    [
        ("token_insertion", 0),
        # Four layers of four 96 x 96 projections and two norms of 32.
        ("vanilla_ca", 4 * (4 * 96 * 96 + 2 * 32)),
    ],
)
def test_parameters_that_a_method_adds(method: str, added: int) -> None:
    registry.discover()
    assert parameters_added(registry.methods.get(method), "tiny-qwen3")[0] == added


def save(folder: Path, config: ModelConfig) -> None:
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(config.model_dump_json())
    (folder / WEIGHTS).write_bytes(b"")


def test_trained_models_are_read_from_their_folders(tmp_path: Path) -> None:
    registry.discover()
    untrained = new_config("casa", {"gists": 5}, "tiny-qwen3", 0)
    trained = {"max_frames": 4, "heights": (32,), "widths": (32,), "tasks": ("multi_image", "gone")}
    for seed in (7, 3):
        save(tmp_path / f"casa{seed}", untrained.model_copy(update={**trained, "seed": seed}))
    save(tmp_path / "untrained", untrained)
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / CONFIG).write_text("{")
    own = [entry for entry in trained_models([tmp_path]) if entry["where"] == str(tmp_path)]
    assert own == [
        {
            "method": "casa",
            "settings": {"gists": 5},
            "backbone": "tiny-qwen3",
            "tasks": {"multi_image": list(registry.tasks.get("multi_image").kinds), "gone": []},
            "max_frames": 4,
            "where": str(tmp_path),
            "seeds": [3, 7],
        }
    ]


def test_shipped_models_are_listed_with_their_seeds() -> None:
    listed = json.loads(run("list", "methods", "--json").stdout)["methods"]
    for entry in listed:
        there = sorted(
            int(path.name.removeprefix("seed")) for path in (SHIPPED / entry["name"]).glob("seed*")
        )
        assert sorted(seed for model in entry["trained"] for seed in model["seeds"]) == there
    assert any(entry["trained"] for entry in listed)


def test_a_models_folder_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        trained_models([tmp_path / "nowhere"])
    assert run("list", "methods", "--models", tmp_path / "nowhere").exit_code == 2


def test_text_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("list", "methods")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "streaming: constant in frames, linear in pixels" in done.stdout
    assert "parameters: +0.0% of tiny-qwen3's (0)" in done.stdout


def test_a_method_that_cannot_be_built_is_listed_all_the_same(broken_method: str) -> None:
    document = json.loads(run("list", "methods", "--json").stdout)
    entries = {entry["name"]: entry for entry in document["methods"]}
    assert entries[broken_method]["parameters"]["error"] == "RuntimeError: planted"
    assert entries[broken_method]["memory"]["streaming"] == "quadratic in frames, constant in pixels"
    assert "added" in entries["casa"]["parameters"]
    assert "parameters: not counted, RuntimeError: planted" in run("list", "methods").stdout
