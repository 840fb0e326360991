"""Backbones from folders: what is read, what is resolved, and how what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.backbones import resolve
from harness.backbones.checkpoint import load_decoder
from harness.errors import UsageError
from harness.models import SHIPPED
from harness.tokenizer import SpecialTokens

from .checkpoints import ARCHITECTURES, change, write_checkpoint

registry.discover()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    write_checkpoint(folder, ARCHITECTURES["llama"])
    return folder


@pytest.fixture
def broken(llama: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to break."""
    return shutil.copytree(llama, tmp_path / "copy")


@pytest.mark.parametrize("name", ["smollm2", "smollm3", "helium", "qwen2"])
@pytest.mark.parametrize("shard", ["5GB", "100KB"])
@torch.no_grad()
def test_a_checkpoint_is_read_whole_or_in_shards(tmp_path: Path, name: str, shard: str) -> None:
    lm = write_checkpoint(tmp_path, ARCHITECTURES[name], shard=shard)
    assert (tmp_path / "model.safetensors").exists() == (shard == "5GB")
    spec = resolve(str(tmp_path))
    decoder, difference = load_decoder(tmp_path, spec.config(0, 0))
    assert difference < 1e-5
    own = lm.state_dict()
    assert torch.equal(decoder.head.weight, own["lm_head.weight"])
    key = decoder.state_dict()["blocks.3.attention.k_proj.weight"]
    assert torch.equal(key, own["model.layers.3.self_attn.k_proj.weight"])
    assert (decoder.head.weight is decoder.embed.weight) == ARCHITECTURES[name].tie_word_embeddings


def test_reading_draws_no_random_number(llama: Path) -> None:
    before = torch.get_rng_state()
    load_decoder(llama, resolve(str(llama)).config(0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_is_a_registered_backbone_before_it_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-qwen3").mkdir()
    assert resolve("tiny-qwen3").folder is None


def test_a_folder_is_named_after_itself_and_its_config(llama: Path, broken: Path) -> None:
    name, _, digest = resolve(str(llama)).name.partition("@")
    assert name == llama.name
    change(broken / "config.json", rms_norm_eps=1e-3)
    assert resolve(str(broken)).name.partition("@")[2] != digest


def test_a_fused_folder_of_a_registered_backbone_is_that_backbone() -> None:
    spec = resolve(str(SHIPPED / "casa" / "seed0"))
    assert (spec.name, spec.fused) == ("tiny-qwen3", True)


@pytest.mark.parametrize("name", ["nowhere/llama", "./nowhere"])
def test_a_missing_folder_is_told_from_a_misspelt_name(name: str) -> None:
    with pytest.raises(UsageError, match="does not exist; give a checkpoint folder or a registered name"):
        resolve(name)
    with pytest.raises(UsageError, match="did you mean 'tiny-qwen3'"):
        resolve("tiny-qwen")


@pytest.mark.parametrize(
    ("bos", "eos", "generation", "expected"),
    [
        (0, 1, None, SpecialTokens(0, (1,))),
        (None, 1, None, SpecialTokens(1, (1,))),
        (0, [1, 7], None, SpecialTokens(0, (1, 7))),
        (0, 1, {"eos_token_id": [9, 1]}, SpecialTokens(0, (9, 1))),
        (None, 1, {"bos_token_id": 5}, SpecialTokens(5, (1,))),
    ],
    ids=["plain", "no-start-token", "several-stops", "generation-config", "start-in-generation-config"],
)
def test_start_and_stop_tokens(
    broken: Path, bos: int | None, eos: object, generation: dict[str, object] | None, expected: SpecialTokens
) -> None:
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "bos_token_id": bos, "eos_token_id": eos}))
    (broken / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (broken / "generation_config.json").write_text(json.dumps(generation))
    assert resolve(str(broken)).special == expected


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _lose_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")


def _gain_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "model.mtp.weight": torch.zeros(2)}, folder / "model.safetensors")


def _lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def _no_stop(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    (folder / "generation_config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"model\.safetensors are corrupt .*copy or train the model again"),
        (_pickle_only, r"pytorch_model\.bin only, a pickle.*save_pretrained"),
        (_lose_a_tensor, r"first 'model\.norm\.weight' is missing"),
        (_gain_a_tensor, r"first 'model\.mtp\.weight' is unknown"),
        (_lose_a_shard, r"model-00002-of-00002\.safetensors do not exist"),
        (lambda f: change(f / "config.json", hidden_size=64), r"is \[320, 96\], not \[320, 64\]"),
        (lambda f: change(f / "config.json", model_type="nonsense"), "transformers makes no model of type"),
        (lambda f: change(f / "config.json", model_type=None), "neither a model_type"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
        (lambda f: (f / "config.json").unlink(), r"has no config\.json; give a checkpoint folder"),
        (lambda f: (f / "tokenizer.json").unlink(), r"has no tokenizer\.json; write it with AutoTokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json cannot be read"),
        (lambda f: change(f / "config.json", vocab_size=100), "the decoder embeds 100 only"),
        (lambda f: change(f / "generation_config.json", eos_token_id=4000), "special token 4000"),
        (_no_stop, "names no eos_token_id"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(
    broken: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(broken)
    with pytest.raises(UsageError, match=message) as caught:
        load_decoder(broken, resolve(str(broken)).config(0, 0))
    assert str(broken) in str(caught.value)
