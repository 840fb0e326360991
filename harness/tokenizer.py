"""Tokenizers: the small reference models' own, one token per word, lower case, over the shipped tasks'
vocabulary; and what texts need with a checkpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from harness.errors import InfrastructureError, UsageError

PAD, UNKNOWN, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"
_BLANKS = ("▁", "Ġ")
"""What stands for a blank in the tokens of SentencePiece and of byte-level BPE."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the token that begins every stream, and of those that end an answer (the first is taught)."""

    start: int
    stops: tuple[int, ...]


def special_of(tokenizer: Tokenizer) -> SpecialTokens:
    """The special tokens of the shipped tokenizer; raises UsageError for one that lacks them."""
    start, stop = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    if start is None or stop is None:
        raise UsageError(
            f"the tokenizer has no {BOS} and {EOS}; name the start and stop tokens of the backbone "
            "(BackboneSpec.special)"
        )
    return SpecialTokens(start, (stop,))


def separator(tokenizer: Tokenizer) -> str:
    """What to put in front of a text that stands apart from what is before it: a blank, unless the tokenizer
    makes one itself or knows whole words only."""
    if tokenizer.decoder is None:
        return ""
    first = tokenizer.encode("a", add_special_tokens=False).tokens[:1]
    return "" if first and first[0].startswith(_BLANKS) else " "


def decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Tokens as text: as the tokenizer decodes them, or joined by blanks where a token is a word."""
    if tokenizer.decoder is None:
        return " ".join(tokenizer.id_to_token(token) or "" for token in ids)
    return tokenizer.decode(list(ids), skip_special_tokens=True).strip()


def word_tokenizer(words: Iterable[str]) -> Tokenizer:
    """A word-level tokenizer; words that it does not know become ``<unk>``."""
    return _from_vocabulary([PAD, UNKNOWN, BOS, EOS, *sorted({word.lower() for word in words})])


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """What a word tokenizer takes for the words of a text."""
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    return [word for word, _ in pieces]


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
