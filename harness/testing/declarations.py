"""What a method declares by arithmetic against what its sessions keep."""

from __future__ import annotations

from collections.abc import Sequence

from harness.declared import Seen, Sizes
from harness.testing.failures import ViolationError
from harness.testing.plans import Item, Plan, atoms, chunkings
from harness.testing.subjects import Subject

STREAMS = (
    "1: t3",
    "1: t1 f3 f3 f3 t3",
    "2: f6 t1 f6 t1 f6 t4",
    "3: t3 f2 t2 f2 t2 f2 t2 f2 t2 f2",
)
"""Text alone; frames without text between; a question at the end; a longer stream, which a frame ends."""
_KINDS = ("text_kv", "image_kv", "gist_kv")


def declared_state(subject: Subject, plan: Plan) -> None:
    """A stream in counts is regular: frames of one size at times of their own, the same text after each."""
    seen = seen_of(plan.items)
    declared = None if seen is None else subject.fusion.keeps(seen, Sizes.of(subject.decoder))
    if declared is None:
        return
    expected = declared.bytes_by_kind(subject.dtype.itemsize)
    spans = atoms(plan.spans())
    for name, ends in chunkings(len(spans), plan.seed).items():
        if subject.fusion.prompt_dependent and name != "in one chunk":
            continue  # What is kept is rounded once per chunk.
        kept = subject.stream(spans, ends)[1].bytes_by_kind()
        wrong = [kind for kind in _KINDS if kept[kind] != expected[kind]]
        if wrong:
            found = ", ".join(
                f"{kept[kind]:,} bytes of {kind} are kept where {expected[kind]:,} are declared"
                for kind in wrong
            )
            raise ViolationError(f"{found} ({name}, {_in_words(seen)})")


def seen_of(items: Sequence[Item]) -> Seen | None:
    """A stream in counts; None where it is not regular."""
    texts, sizes = [0], []
    for item in items:
        if item.frame:
            sizes.append(item.size)
            texts.append(0)
        else:
            texts[-1] += item.size
    if len(set(sizes)) > 1 or len(set(texts[1:-1])) > 1 or any(item.again for item in items):
        return None
    return Seen(
        frames=len(sizes),
        tokens=sizes[0] if sizes else 0,
        before=texts[0],
        between=texts[1] if len(texts) > 2 else 0,
        after=texts[-1] if sizes else 0,
    )


def _in_words(seen: Seen | None) -> str:
    assert seen is not None
    return f"{seen.text} text tokens, {seen.frames} frames of {seen.tokens}"
