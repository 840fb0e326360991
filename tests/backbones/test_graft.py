"""``harness graft`` from a checkpoint to a measured, trained and reloaded model, and how it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from harness import registry
from harness.cli import app
from harness.errors import UsageError
from harness.models import SHIPPED, build_model, find_weights, load_model, read_config, shipped_encoder
from harness.plan import CellJob, make_plan
from harness.spec import EvalSpec, MethodSpec, TaskSpec, TrainSpec
from harness.stream import Frame, Stream
from harness.task import Question, Sample
from harness.train.recipe import Recipe
from harness.train.run import train

from .checkpoints import ARCHITECTURES, change, write_checkpoint
from .test_encoders import _siglip_folder, frames, make

PLUGIN = Path(__file__).parents[1] / "train" / "colour_task.py"
RECIPE = Recipe(batch=2, frames=(1,), frame_weights=(1.0,), sizes=(16,), size_weights=(1.0,), warmup=1)


@pytest.fixture(autouse=True, scope="module")
def _colour_task() -> None:
    assert registry.discover([PLUGIN]) == []


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "llama"
    write_checkpoint(folder, ARCHITECTURES["llama"], dtype=torch.bfloat16)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def graft(llama: Path, out: Path, *more: object, method: str = "casa:gists=3") -> Result:
    return run("graft", "--method", method, "--backbone", llama, "--out", out, *more)


@pytest.fixture(scope="module")
def grafted(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grafted") / "model"
    done = graft(llama, folder, "--seed", 5)
    assert done.exit_code == 0, done.output
    return folder


def test_the_whole_model_is_one_folder_in_the_checkpoints_precision(grafted: Path, llama: Path) -> None:
    assert sorted(path.name for path in grafted.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert {tensor.dtype for tensor in load_file(grafted / "model.safetensors").values()} == {torch.bfloat16}
    config = read_config(grafted)
    assert (config.method, config.seed, config.max_frames) == ("casa", 5, None)
    model = load_model(grafted)
    own = load_file(llama / "model.safetensors")
    state = model.state_dict()
    for name in ("q_proj", "o_proj"):
        expected = own[f"model.layers.2.self_attn.{name}.weight"].float()
        assert torch.equal(state[f"decoder.blocks.2.attention.{name}.weight"], expected)
        assert torch.equal(state[f"fusion.cross.2.{name}.weight"], expected)
    assert model.trained_on is None
    assert model.encoder_digest == shipped_encoder().digest


def test_what_is_new_follows_the_seed_only(grafted: Path, llama: Path, tmp_path: Path) -> None:
    assert graft(llama, tmp_path / "again", "--seed", 5).exit_code == 0
    assert graft(llama, tmp_path / "other", "--seed", 6).exit_code == 0
    again, other = ((tmp_path / name / "model.safetensors") for name in ("again", "other"))
    assert again.read_bytes() == (grafted / "model.safetensors").read_bytes()
    one, two = load_file(again), load_file(other)
    changed = {name.partition(".")[0] for name in one if not torch.equal(one[name], two[name])}
    assert changed == {"connector", "fusion"}


def test_the_command_says_what_is_taken_over_and_what_is_new(llama: Path, tmp_path: Path) -> None:
    done = graft(llama, tmp_path / "out", method="token_insertion")
    model = load_model(tmp_path / "out")
    decoder = sum(p.numel() for p in model.decoder.parameters())
    connector = sum(p.numel() for p in model.connector.parameters())
    assert f"{decoder:,} parameters taken over" in done.output
    assert f"{connector:,} new parameters, random from seed 0" in done.output
    share = 100 * connector / (decoder + connector)
    assert f"{connector:,} of {decoder + connector:,} trained parameters ({share:.1f} %)" in done.output
    assert f"harness eval --backbone {tmp_path / 'out'} --task videoqa" in done.output


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_precision_is_a_choice(llama: Path, tmp_path: Path, dtype: str) -> None:
    assert graft(llama, tmp_path / "out", "--dtype", dtype).exit_code == 0
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}


@torch.no_grad()
def test_the_encoder_travels_with_the_model(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "siglip").mkdir()
    _siglip_folder(tmp_path / "siglip", make("siglip"), whole=True)
    option = f"siglip:{tmp_path / 'siglip'}"
    done = graft(llama, tmp_path / "out", "--encoder", option, "--dtype", "float32")
    assert done.exit_code == 0, done.output
    shutil.rmtree(tmp_path / "siglip")
    model = load_model(tmp_path / "out")
    assert model.encoder_digest == make("siglip").digest == read_config(tmp_path / "out").encoder_digest
    pixels = frames(1, 16, 24)
    torch.testing.assert_close(model.encode(pixels), make("siglip")(pixels), atol=1e-6, rtol=0)
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_the_encoders_digest_is_that_of_the_stored_weights(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "siglip").mkdir()
    _siglip_folder(tmp_path / "siglip", make("siglip"), whole=True)
    assert graft(llama, tmp_path / "out", "--encoder", f"siglip:{tmp_path / 'siglip'}").exit_code == 0
    assert load_model(tmp_path / "out").encoder_digest == read_config(tmp_path / "out").encoder_digest
    assert make("siglip").digest != read_config(tmp_path / "out").encoder_digest


def test_text_is_spaced_and_decoded_by_the_tokenizer(grafted: Path) -> None:
    model = load_model(grafted)
    ids = model.token_ids("red green").tolist()
    assert model.tokenizer.decode(ids) == " red green"
    assert model.text_of([*ids, model.eos, ids[0]]) == "red green"
    assert (model.bos, model.eos) == (0, 1)


def test_an_answer_may_be_as_long_as_the_longest_choice(
    grafted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(grafted)
    question = Question(id="q", kind="k", prompt="what", answer="red", chance=None, choices=("red", "x" * 9))
    stream = Stream.of([Frame(frames(1, 16, 16)[0].numpy(), 0.0)])
    sample = Sample(id="s", stream=stream, questions=(question,), group="s")
    asked: list[int] = []

    def generate(sample: Sample, features: torch.Tensor, count: int) -> list[str]:
        asked.append(count)
        return ["red"]

    monkeypatch.setattr(model, "_generate", generate)
    model.answer([sample], [model.encode(frames(1, 16, 16))[0]])
    assert asked == [len(model.token_ids("x" * 9))]


def evaluate(*arguments: object) -> tuple[subprocess.CompletedProcess[str], list[dict[str, object]]]:
    command = [sys.executable, "-m", "harness.cli", "eval", "--json", "--task", "colour", "--plugin", PLUGIN]
    command += ["--frames", 1, "--resolution", 16, "--limit", 2, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return done, json.loads(done.stdout) if done.stdout else []


def test_a_grafted_folder_is_measured_as_the_backbone(grafted: Path, llama: Path, tmp_path: Path) -> None:
    done, records = evaluate(
        "--backbone", grafted, "--seed", 5, "--out", tmp_path / "run", "--cache", tmp_path
    )
    assert done.returncode == 0, done.stderr
    (record,) = records
    key, outcome = record["key"], record["outcome"]
    assert isinstance(key, dict)
    assert isinstance(outcome, dict)
    assert (key["method"], key["method_config"]["gists"], key["seed"]) == ("casa", 3, 5)
    assert key["backbone"] == read_config(grafted).backbone
    assert key["weights"] not in ("random", "none")
    assert outcome["kind"] == "ok"
    assert outcome["measures"]["extrapolated"] is None
    assert outcome["measures"]["accuracy"]["scored"] + outcome["measures"]["accuracy"]["unparsed"] == 2


def test_methods_on_one_checkpoint_are_compared_from_a_folder_of_models(llama: Path, tmp_path: Path) -> None:
    for method in ("casa", "token_insertion"):
        assert graft(llama, tmp_path / "models" / method, method=method).exit_code == 0
    shutil.copytree(llama, tmp_path / "models" / "decoder")
    names = ("casa", "token_insertion", "vanilla_ca")
    spec = EvalSpec(
        tasks=(TaskSpec("colour"),),
        methods=tuple(MethodSpec(name) for name in names),
        backbones=(str(llama),),
        models=(tmp_path / "models",),
        frames=(1,),
        plugins=(PLUGIN,),
    )
    cells = make_plan(spec).cells
    assert [cell.skip is None for cell in cells] == [True, True, False]
    assert cells[0].job.weights_path == tmp_path / "models" / "casa"
    assert f"harness graft --method vanilla_ca --backbone {llama} --seed 0" in str(cells[2].skip)
    random = make_plan(dataclasses.replace(spec, weights="random")).cells[2].job
    assert CellJob.from_json(random.to_json()).backbone_path == llama


def test_another_seed_of_a_grafted_folder_is_answered_with_its_own(grafted: Path) -> None:
    spec = EvalSpec(tasks=(TaskSpec("colour"),), backbones=(str(grafted),), frames=(1,), plugins=(PLUGIN,))
    (cell,) = make_plan(spec).cells
    assert "holds casa seed 5 only; leave out --methods and give --seed 5" in str(cell.skip)


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "--task", "videoqa", "--backbone", "nowhere/llama"),
        ("train", "--method", "casa", "--out", "unused", "--backbone", "nowhere/llama"),
    ],
    ids=["eval", "train"],
)
def test_a_missing_backbone_folder_is_one_line(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "backbone folder 'nowhere/llama' does not exist" in done.stderr


def test_a_run_on_a_folder_has_a_folder_of_its_own() -> None:
    task = (TaskSpec("colour"),)
    folders = {
        EvalSpec(tasks=task, backbones=(name,)).out_dir for name in ("/a/llama", "/b/llama", "tiny-qwen3")
    }
    assert len(folders) == 3
    assert {len(folder.parts) for folder in folders} == {3}


def test_random_weights_have_a_checkpoints_shapes(llama: Path, grafted: Path) -> None:
    model = build_model("vanilla_ca", {}, str(llama), 0)
    assert model.decoder.embed.weight.shape == (320, 96)
    again = build_model("vanilla_ca", {}, str(grafted), 0)
    assert model.parameter_count() == again.parameter_count()
    assert not torch.equal(model.decoder.embed.weight, load_model(grafted).decoder.embed.weight)


@pytest.mark.parametrize("start", ["checkpoint", "grafted"])
def test_training_goes_on_from_a_folder(grafted: Path, llama: Path, tmp_path: Path, start: str) -> None:
    registry.discover([PLUGIN])
    folder = {"checkpoint": llama, "grafted": grafted}[start]
    spec = TrainSpec(
        method="casa",
        method_config={"gists": 3},
        backbone=str(folder),
        tasks=("colour",),
        steps=1,
        seed=5,
        out=tmp_path,
    )
    out = train(spec, lambda line: None, RECIPE)
    trained, before = load_model(out), load_model(grafted)
    assert trained.trained_on is not None
    assert read_config(out).backbone == read_config(grafted).backbone
    moved = (trained.decoder.embed.weight - before.decoder.embed.weight).detach().abs().max()
    assert 0 < float(moved) < 0.1
    assert find_weights("casa", {"gists": 3}, read_config(out).backbone, 5, [tmp_path]) == out


def test_a_fused_model_is_continued_by_its_own_method_only(grafted: Path, tmp_path: Path) -> None:
    spec = TrainSpec(method="vanilla_ca", method_config={}, backbone=str(grafted), out=tmp_path)
    with pytest.raises(UsageError, match="is a model of casa"):
        train(spec, lambda line: None, RECIPE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backbone", "nowhere/llama"), "does not exist; give a checkpoint folder"),
        (("--backbone", "tiny-qwen3"), "has no weights to start from"),
        (("--backbone", SHIPPED / "casa" / "seed0"), "is a fused model already"),
        (("--method", "cas"), "unknown method 'cas'"),
        (("--method", "casa:gist=1"), "did you mean 'gists'"),
        (("--encoder", "siglip"), "write TYPE:DIR"),
        (("--encoder", "vit:somewhere"), "unknown encoder 'vit'"),
        (("--encoder", "siglip:nowhere"), "has no config.json"),
        (("--dtype", "int8"), "unknown dtype 'int8'"),
    ],
)
def test_a_wrong_argument_is_one_line_and_writes_nothing(
    llama: Path, tmp_path: Path, arguments: tuple[object, object], message: str
) -> None:
    given = {"--method": "casa", "--backbone": llama, "--out": tmp_path / "out", **dict([arguments])}
    done = run("graft", *[word for pair in given.items() for word in pair])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "are corrupt"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "a pickle"),
        (lambda f: change(f / "config.json", sliding_window=8, model_type="mistral"), "sliding_window=8"),
    ],
)
def test_a_broken_checkpoint_is_one_line(
    llama: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    broken = shutil.copytree(llama, tmp_path / "broken")
    damage(broken)
    done = graft(broken, tmp_path / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    done = graft(llama, tmp_path / "out")
    assert done.exit_code == 2
    assert "nothing is overwritten; choose another --out" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes"]


def test_a_place_that_cannot_be_written_is_the_machines_fault(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = graft(llama, tmp_path / "file" / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (4, 1)


def test_a_connector_of_another_encoder_does_not_fit(grafted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(grafted, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    save_file({**tensors, "connector.project.weight": torch.zeros(96, 32)}, copy / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"first 'connector\.project\.weight' is \[96, 32\], not \[96, 128\]"
    ):
        load_model(copy)


def test_an_encoder_that_its_config_does_not_describe_does_not_fit(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "siglip").mkdir()
    _siglip_folder(tmp_path / "siglip", make("siglip"), whole=False)
    assert graft(llama, tmp_path / "out", "--encoder", f"siglip:{tmp_path / 'siglip'}").exit_code == 0
    document = json.loads((tmp_path / "out" / "config.json").read_text())
    document["encoder"]["config"]["intermediate_size"] = 64
    (tmp_path / "out" / "config.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"first 'encoder\.tower"):
        load_model(tmp_path / "out")
