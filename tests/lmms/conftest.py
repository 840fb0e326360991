"""lmms-eval's tasks on local data, and a model that answers with letters, yes and no."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from harness import registry
from harness.encoders import EncoderSpec
from harness.models import graft, save_model
from tests.lmms.choice_sets import CHOICE_SETS, PERCEPTIONTEST
from tests.lmms.datasets import SOURCES
from tests.lmms.sources import write

WORDS = ("A", "B", "C", "D", "ĠA", "ĠB", "yes", "no", "Yes", "No", "4")
"""What the model answers with; a word that begins with Ġ follows a blank."""
STOP = "</s>"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs lmms-eval where it is not installed."""
    if importlib.util.find_spec("lmms_eval") is None:
        for item in items:
            if item.get_closest_marker("lmms") is not None:
                item.add_marker(
                    pytest.mark.skip(reason="lmms-eval is not installed; `make lmms` installs it")
                )
    # The longest first: another process takes the others meanwhile.
    items.sort(key=lambda item: "test_several" not in item.nodeid)


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches of the harness and of the hub for these tests alone."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(folder / "harness"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
        patch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> dict[str, Path]:
    """The folder of every task's data; all lie below one that lmms-eval can take for ``HF_HOME``."""
    home = tmp_path_factory.mktemp("home")
    return {source.task: write(source, home) for source in SOURCES}


@pytest.fixture(scope="session")
def choice_data(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> dict[str, Path]:
    """The same of the tasks whose choices are compared by likelihood."""
    home = tmp_path_factory.mktemp("choices")
    return {source.task: write(source, home) for source in (*CHOICE_SETS, PERCEPTIONTEST)}


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder: random weights, but for a head that prefers ``WORDS`` and the end."""
    registry.discover()
    folder = tmp_path_factory.mktemp("models")
    _write_decoder(folder / "decoder")
    made = graft("casa", {}, str(folder / "decoder"), EncoderSpec(), 0, None)
    save_model(made.model, made.config, folder / "fused")
    return folder / "fused"


def _write_decoder(folder: Path) -> None:
    tokenizer = _byte_tokenizer()
    vocabulary = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=96,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        pad_token_id=None,
        bos_token_id=vocabulary["<s>"],
        eos_token_id=vocabulary[STOP],
    )
    torch.manual_seed(0)
    decoder = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        head = decoder.get_output_embeddings().weight
        for word in (*WORDS, STOP):
            head[vocabulary[word]] *= 4.0
    decoder.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def _byte_tokenizer() -> Tokenizer:
    """Bytes, and the few words that answers are made of."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [word for word in WORDS if word not in alphabet]
    merges: list[tuple[str, str]] = []
    known = [*alphabet]
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in known:
                known.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(
        models.BPE(vocab={word: i for i, word in enumerate(["<s>", STOP, *known])}, merges=merges)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", STOP])
    return tokenizer
