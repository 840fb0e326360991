"""Where checkpoints come from, and which are refused before anything of theirs runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors as hub
from safetensors.torch import load_file, save_file

from harness import registry
from harness.errors import InfrastructureError, UsageError
from harness.published_models.insertion import SmolVLM
from harness.published_models.loading import load_published
from harness.published_models.names import is_published
from harness.published_models.source import digest_of, locate
from tests.backbones.checkpoints import change

Folder = Callable[[str], Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CODE = (
    "import os, pathlib\n"
    "pathlib.Path(os.environ['TOY_MARK']).write_text('imported')\n"
    "from transformers import {base}\n"
    "{more}\n"
    "class Toy{kind}({base}):\n"
    "    {attribute}\n"
)


@pytest.fixture
def copied(checkpoint: Folder, tmp_path: Path) -> Callable[[str], Path]:
    """A checkpoint that a test may change."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(checkpoint(kind), tmp_path / "model"))

    return copy


@pytest.fixture
def foreign(
    copied: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_code: None
) -> tuple[Path, Path]:
    """A checkpoint with code of its own, and the file that this code writes when it is imported."""
    folder, mark = copied("smolvlm"), tmp_path / "imported"
    monkeypatch.setenv("TOY_MARK", str(mark))
    maps = {
        "AutoConfig": "configuration_toy.ToyConfig",
        "AutoModelForImageTextToText": "modeling_toy.ToyModel",
    }
    change(folder / "config.json", model_type="toy_vlm", auto_map=maps)
    (folder / "configuration_toy.py").write_text(
        CODE.format(base="SmolVLMConfig", kind="Config", more="", attribute="model_type = 'toy_vlm'")
    )
    (folder / "modeling_toy.py").write_text(
        CODE.format(
            base="SmolVLMForConditionalGeneration",
            kind="Model",
            more="from .configuration_toy import ToyConfig",
            attribute="config_class = ToyConfig",
        )
    )
    return folder, mark


@pytest.fixture
def cached(checkpoint: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that has ``org/name`` at one commit; the calls that it gets."""
    calls: list[dict[str, Any]] = []

    def snapshot_download(repository: str, **options: Any) -> str:
        calls.append({"repository": repository, **options})
        place = tmp_path / "snapshots" / COMMIT
        if not place.exists():
            shutil.copytree(checkpoint("qwen2_5_vl"), place)
        return str(place)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_names(checkpoint: Folder, tmp_path: Path) -> None:
    assert is_published("hub:org/name")
    assert is_published(str(checkpoint("mllama")))
    assert not is_published("tiny-qwen3")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert not is_published(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert not is_published(str(tmp_path))


def test_a_folder_is_named_by_its_config(kind: str, checkpoint: Folder) -> None:
    found = locate(str(checkpoint(kind)))
    assert found.model_type == kind
    assert found.folder == checkpoint(kind)
    assert found.name.startswith(f"{kind}@")


def test_the_hub_is_asked_for_settings_before_weights(cached: list[dict[str, Any]]) -> None:
    found = locate("hub:org/name@v1")
    assert (found.name, found.title) == (f"hub:org/name@{COMMIT[:12]}", "name")
    first, second = cached
    assert (first["repository"], first["revision"], second["revision"]) == ("org/name", "v1", COMMIT)
    assert "*.safetensors" not in first["allow_patterns"]
    assert "*.safetensors" in second["allow_patterns"]
    assert all("*.py" not in call["allow_patterns"] for call in cached)


def test_random_weights_are_not_downloaded(cached: list[dict[str, Any]]) -> None:
    locate("hub:org/name", weights=False)
    assert len(cached) == 1
    assert cached[0]["revision"] is None


@pytest.mark.parametrize("name", ["hub:", "hub:name", "hub:org/name@", "hub:a/b/c", "hub:org/na me"])
def test_what_names_no_repository(name: str) -> None:
    with pytest.raises(UsageError, match=r"write hub:ORG/NAME or hub:ORG/NAME@REVISION"):
        locate(name)


def test_offline_names_the_way_out() -> None:
    with pytest.raises(
        InfrastructureError, match=r"hub:org/name cannot be fetched .* --backbone DIR"
    ) as caught:
        locate("hub:org/name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (hub.GatedRepoError, 403, "gated: accept its licence"),
        (hub.RepositoryNotFoundError, 401, "not on the hub, or is private"),
        (hub.RevisionNotFoundError, 404, "no revision 'v9'"),
        (hub.HfHubHTTPError, 403, r"refuses .* \(HTTP 403\)"),
        (hub.HfHubHTTPError, 503, "--backbone DIR"),
    ],
)
def test_what_the_hub_answers_becomes_one_line(
    kind: type[hub.HfHubHTTPError], status: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(repository: str, **options: Any) -> str:
        response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
        raise kind("refused\nlong", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises((UsageError, InfrastructureError), match=expected) as caught:
        locate("hub:org/name@v9")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), TimeoutError(), hub.DryRunError()])
def test_a_broken_connection_names_the_way_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(repository: str, **options: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(InfrastructureError, match="give --backbone DIR") as caught:
        locate("hub:org/name")
    assert "\n" not in str(caught.value)


def test_a_bug_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(repository: str, **options: Any) -> str:
        raise KeyError(repository)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(KeyError):
        locate("hub:org/name")


def test_code_is_refused_and_not_imported(foreign: tuple[Path, Path]) -> None:
    folder, mark = foreign
    assert is_published(str(folder))
    with pytest.raises(UsageError, match=r"brings code of its own .*--trust-remote-code"):
        locate(str(folder))
    with pytest.raises(UsageError, match="brings code of its own"):
        load_published(folder, "toy")
    assert not mark.exists()


def test_code_of_a_supported_type_is_refused_too(copied: Folder) -> None:
    folder = copied("qwen2_5_vl")
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_toy.Toy", None]})
    with pytest.raises(UsageError, match=r"tokenizer_config\.json has auto_map"):
        locate(str(folder))


def test_trusted_code_still_needs_an_adapter(foreign: tuple[Path, Path]) -> None:
    folder, mark = foreign
    with pytest.raises(UsageError, match=r"type 'toy_vlm'.*a plugin can bring an adapter"):
        locate(str(folder), trust_remote_code=True)
    assert not mark.exists()


@pytest.mark.parametrize("revision", ["", "@main", "@0123456789ab"])
def test_code_from_the_hub_is_pinned_to_a_commit(
    revision: str, foreign: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = foreign
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repository, **options: str(folder))
    with pytest.raises(UsageError, match="pin it to the commit"):
        locate(f"hub:org/name{revision}", trust_remote_code=True)
    assert not mark.exists()


def test_trusted_code_with_an_adapter_runs(foreign: tuple[Path, Path]) -> None:
    folder, mark = foreign

    class Toy(SmolVLM):
        architecture = "AutoModelForImageTextToText"

    known = list(registry.families)
    registry.register_family("toy_vlm")(Toy)
    try:
        found = locate(str(folder), trust_remote_code=True)
        model = load_published(found.folder, "toy", trust_remote_code=True)
        assert type(model.net).__name__ == "ToyModel"
        assert mark.exists()
        assert load_published(found.folder, "toy", seed=0, trust_remote_code=True).parameter_count() > 0
    finally:
        registry.families.keep(known)


@pytest.mark.parametrize("field", ["architecture", "processor"])
def test_a_transformers_that_is_too_old_is_named(
    field: str, checkpoint: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmolVLM, field, {"architecture": "NoSuchModel", "processor": "none:NoSuch"}[field])
    with pytest.raises(InfrastructureError, match=r"transformers .* has no NoSuch.*install a newer one"):
        load_published(checkpoint("smolvlm"), "x")


def test_adapters_are_checked() -> None:
    with pytest.raises(UsageError, match="subclass"):
        registry.register_family("toy_vlm")(int)  # type: ignore[type-var]
    with pytest.raises(UsageError, match="have an adapter already"):
        registry.register_family("mllama")(SmolVLM)


def test_the_digest_follows_weights_settings_and_code(copied: Folder) -> None:
    folder = copied("smolvlm")
    seen = {digest_of(folder)}
    assert digest_of(folder) in seen
    change(folder / "preprocessor_config.json", mark=1)
    seen.add(digest_of(folder))
    (folder / "modeling_toy.py").write_text("")
    seen.add(digest_of(folder))
    for name in ("tokenizer.json", "generation_config.json"):
        change(folder / name, mark=1)
        seen.add(digest_of(folder))
    (folder / "chat_template.jinja").write_text("other")
    seen.add(digest_of(folder))
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b" ")
    seen.add(digest_of(folder))
    assert len(seen) == 7


def test_a_blob_of_the_hub_s_cache_is_not_hashed_again(copied: Folder, tmp_path: Path) -> None:
    folder = copied("smolvlm")
    before = digest_of(folder)
    blob = tmp_path / ("ab" * 32)
    os.replace(folder / "model.safetensors", blob)
    (folder / "model.safetensors").symlink_to(blob)
    assert digest_of(folder) != before


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("model.safetensors", "do not exist"),
        ("tokenizer.json", "no tokenizer that can be read"),
        ("processor", "no settings of an image processor"),
    ],
)
def test_what_a_folder_lacks_is_named(missing: str, expected: str, copied: Folder) -> None:
    folder = copied("smolvlm")
    for path in folder.iterdir():
        if missing in path.name:
            path.unlink()
    with pytest.raises(UsageError, match=expected) as caught:
        load_published(folder, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["weights", "config"])
def test_a_damaged_checkpoint_is_named(damage: str, copied: Folder) -> None:
    folder = copied("smolvlm")
    if damage == "weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    else:
        change(folder / "config.json", vision_config="none")
    with pytest.raises(UsageError, match="copy the checkpoint again") as caught:
        load_published(folder, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        ("num_hidden_layers", r"\S+ \(missing\)"),
        ("intermediate_size", r"\S+ \(\[32, \d+\], not \[32, \d+\]\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(setting: str, first: str, copied: Folder) -> None:
    folder = copied("qwen3_vl")
    document = json.loads((folder / "config.json").read_text())
    document["text_config"][setting] += 1
    document["text_config"].pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=rf"do not fit what config\.json says: .*, first {first}; copy"):
        load_published(folder, "x")


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "mllama", "smolvlm"])
def test_an_image_token_that_the_model_does_not_know_is_refused(kind: str, copied: Folder) -> None:
    folder = copied(kind)
    names = json.loads((folder / "config.json").read_text()).keys() & {"image_token_id", "image_token_index"}
    change(folder / "config.json", **dict.fromkeys(names, 10**6))
    with pytest.raises(UsageError, match="images stand at token 1000000, but the model knows"):
        load_published(folder, "x")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_without_their_settings_are_refused(dtype: torch.dtype, copied: Folder) -> None:
    folder = copied("qwen3_vl")
    tensors = load_file(folder / "model.safetensors")
    name = max(tensors, key=lambda one: tensors[one].numel())
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UsageError, match=rf"holds {name} as \w+, but config\.json has no quantization_config"
    ):
        load_published(folder, "x")


def test_shards_without_their_index_are_refused(copied: Folder) -> None:
    folder = copied("smolvlm")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(UsageError, match=r"00001-of-00002\.safetensors, a part .* but no \S+index\.json"):
        load_published(folder, "x")
