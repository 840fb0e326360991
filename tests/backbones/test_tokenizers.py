"""Texts and tokens with the kinds of tokenizers that checkpoints bring."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from harness.errors import UsageError
from harness.tokenizer import SpecialTokens, decoded, separator, special_of, word_tokenizer

from .checkpoints import bpe

WORDS = ["▁", "▁red", "▁green", "red", "green", "a", "▁a"]


def metaspace() -> Tokenizer:
    """SentencePiece's unigram pieces, each text with a blank in front (T5, Helium)."""
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer


def prepending() -> Tokenizer:
    """The same blank made by a normaliser (Llama 2, Mistral)."""
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return tokenizer


def prefixing() -> Tokenizer:
    tokenizer = bpe(["red green"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [bpe(["red green"]), prefixing(), metaspace(), prepending(), word_tokenizer(["red", "green"])],
    ids=["byte-level", "byte-level-with-prefix", "metaspace", "prepending", "words"],
)
def test_spans_are_the_tokens_of_the_joined_text(tokenizer: Tokenizer) -> None:
    """A span that follows another is what the tokenizer makes of the two with one blank between them."""
    blank = separator(tokenizer)
    one, two = (tokenizer.encode(blank + text, add_special_tokens=False).ids for text in ("red", "green"))
    assert one + two == tokenizer.encode(blank + "red green", add_special_tokens=False).ids
    assert decoded(tokenizer, two) == "green"
    assert decoded(tokenizer, one + two) == "red green"


def test_word_tokens_are_joined_as_they_are() -> None:
    tokenizer = word_tokenizer(["red"])
    assert decoded(tokenizer, [0, 4, 99]) == "<pad> red "
    assert special_of(tokenizer) == SpecialTokens(2, (3,))


def test_a_tokenizer_without_the_shipped_special_tokens_needs_them_named() -> None:
    with pytest.raises(UsageError, match=r"BackboneSpec\.special"):
        special_of(metaspace())
