"""The small reference models' tokenizer: one token per word, lower case, over the shipped tasks'
vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from harness.errors import InfrastructureError

PAD, UNKNOWN, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"


def word_tokenizer(words: Iterable[str]) -> Tokenizer:
    """A word-level tokenizer; words that it does not know become ``<unk>``."""
    return _from_vocabulary([PAD, UNKNOWN, BOS, EOS, *sorted({word.lower() for word in words})])


def unknown_words(tokenizer: Tokenizer, words: Iterable[str]) -> tuple[str, ...]:
    """The words that a tokenizer lacks, sorted, lower case."""
    return tuple(sorted({word.lower() for word in words} - set(tokenizer.get_vocab())))


def extended(tokenizer: Tokenizer, words: Iterable[str]) -> Tokenizer:
    """The tokenizer with more words at the end of its vocabulary; what it knew keeps its ids."""
    known = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return _from_vocabulary([word for word, _ in known] + list(unknown_words(tokenizer, words)))


def _from_vocabulary(vocabulary: Sequence[str]) -> Tokenizer:
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(vocab=ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise InfrastructureError(
            f"tokenizer {path} cannot be read ({error}); reinstall the package or train the models again"
        ) from error
