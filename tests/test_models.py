"""Models in folders: they load as they were saved, and are found by settings with defaults filled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness import registry
from harness.errors import InfrastructureError, UsageError
from harness.modelfiles import replace, save_tensors
from harness.models import (
    SHIPPED,
    build_model,
    find_weights,
    load_model,
    new_config,
    read_config,
    save_model,
    untrained,
)

registry.discover()
FOLDERS = sorted(path.parent for path in SHIPPED.glob("*/seed*/config.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_shipped_model_is_saved_as_it_is_stored(folder: Path, tmp_path: Path) -> None:
    """Loading and saving gives the stored tensors, in half precision, and a config without new fields."""
    save_model(load_model(folder), read_config(folder), tmp_path)
    stored, saved = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert stored.keys() == saved.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in stored.items())
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    configs = [json.loads((place / "config.json").read_text()) for place in (tmp_path, folder)]
    assert configs[0] == configs[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(SHIPPED / "casa" / "seed0", tmp_path / "mine")


def test_a_model_older_than_a_setting_counts_as_having_its_default(copy: Path, tmp_path: Path) -> None:
    document = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**document, "method_config": {}}))
    assert find_weights("casa", {}, "tiny-qwen3", 0, [tmp_path]) == copy
    assert find_weights("casa", {"gists": 3}, "tiny-qwen3", 0, [tmp_path]) is None
    (copy / "config.json").write_text(json.dumps({**document, "method_config": {"gists": 3}}))
    assert find_weights("casa", {"gists": 3}, "tiny-qwen3", 0, [tmp_path]) == copy


def test_a_setting_that_a_method_no_longer_has_is_named(copy: Path, tmp_path: Path) -> None:
    document = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**document, "method_config": {"gist": 2}}))
    with pytest.raises(UsageError, match="did you mean 'gists'"):
        find_weights("casa", {}, "tiny-qwen3", 0, [tmp_path])


def test_a_model_of_another_encoder_is_refused(copy: Path) -> None:
    document = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**document, "encoder_digest": "0" * 16}))
    with pytest.raises(UsageError, match="was trained on vision encoder 0000"):
        load_model(copy)


def test_an_own_decoder_needs_its_special_tokens(copy: Path) -> None:
    document = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**document, "decoder": {"model_type": "llama"}}))
    with pytest.raises(UsageError, match="names its start and stop tokens"):
        load_model(copy)


def test_initial_weights_follow_the_seed_whatever_was_drawn_before() -> None:
    config = new_config("casa", {}, "tiny-qwen3", 3)
    one = untrained(config).state_dict()
    torch.rand(7)
    two = build_model("casa", {}, "tiny-qwen3", 3).state_dict()
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())


def test_weights_that_do_not_fit_the_precision_are_not_stored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'w' is not finite in float16"):
        save_tensors({"w": torch.tensor([1e6])}, torch.float16, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InfrastructureError, match="No space left on device"):
        replace(path, fail)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("config.json", "old")]


@pytest.mark.parametrize(
    "call",
    [
        "models.build_model('casa', {'gists': 1}, 'tiny-qwen3', seed=0)",
        "models.load_model(models.SHIPPED / 'casa' / 'seed0')",
        "models.find_weights('casa', {}, 'tiny-qwen3', 0)",
    ],
)
def test_a_program_that_uses_models_need_not_discover_first(call: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from harness import models; assert {call} is not None"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
