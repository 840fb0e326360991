"""``assert_memory_order``: what it counts, what it says, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from harness import registry
from harness.counting.records import CountKey, CountRecord, Peak
from harness.counting.spec import CountSpec
from harness.errors import UsageError
from harness.fusion_impls.token_insertion import TokenInsertion
from harness.testing import assert_memory_order
from tests.counted import MIB, WEIGHTS, alive, count_key, peak, record

Outcome = Callable[[CountKey], Peak | str]


@dataclass
class Counting:
    """Stands in for the counting: peaks by a formula; keeps what it was asked."""

    outcome: Outcome = lambda key: peak(WEIGHTS + key.frames * key.height * key.width * 256)
    specs: list[CountSpec] = field(default_factory=list)

    def __call__(self, spec: CountSpec, progress: Callable[[str], None] = print, /) -> list[CountRecord]:
        self.specs.append(spec)
        assert spec.methods[0].name in registry.methods
        made = []
        for height, width in spec.resolutions:
            for frames in spec.frames:
                key = count_key(
                    spec.methods[0].name, spec.modes[0], frames=frames, height=height, width=width
                )
                made.append(record(key, self.outcome(key)))
        return made


def square(key: CountKey) -> Peak:
    amount = key.frames**2 * MIB
    return peak(WEIGHTS + amount, alive=(alive(amount, "mine.py:12", kind="activations"),))


def test_a_method_that_keeps_its_word() -> None:
    counting = Counting()
    growth = assert_memory_order("casa:gists=4", mode="stream", window_size=3, count=counting)
    assert growth.law == "peak = 100 MiB + 1 MiB per frame"
    (spec,) = counting.specs
    assert dict(spec.methods[0].config) == {"gists": 4, "window_size": 3}
    assert (spec.modes, spec.frames, spec.resolutions) == (("stream",), (8, 16, 32, 64), ((64, 64),))


def test_pixels() -> None:
    counting = Counting()
    growth = assert_memory_order("casa", axis="pixels", sizes=(16, 32, 64), frames=2, count=counting)
    assert [point.size for point in growth.points] == [256, 1024, 4096]
    assert counting.specs[0].frames == (2,)


def test_a_method_that_grows_too_fast_is_told_in_full() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_memory_order("casa", sizes=(4, 8, 16), count=Counting(square))
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("casa in prefill: order 2.00, declared 1: ")
    assert rest == [
        f"  {WEIGHTS + 16 * MIB:,} bytes (116 MiB) at 4 frames",
        f"  {WEIGHTS + 64 * MIB:,} bytes (164 MiB) at 8 frames",
        f"  {WEIGHTS + 256 * MIB:,} bytes (356 MiB) at 16 frames",
        "  alive at the peak: 256 MiB, +192 MiB: 4 tensors, activations, "
        "up to 4x8 bfloat16 by aten.cat at mine.py:12",
    ]


def test_another_declaration_and_tolerance() -> None:
    assert_memory_order("casa", declared=2, count=Counting(square))
    with pytest.raises(AssertionError, match=r"order 1\.00, declared 0"):
        assert_memory_order("casa", declared=0, count=Counting())
    assert_memory_order("casa", declared=1.6, tolerance=0.4, count=Counting(square))


def test_what_cannot_be_counted_fails() -> None:
    with pytest.raises(AssertionError, match="casa could not be counted in prefill: aten"):
        assert_memory_order("casa", count=Counting(lambda key: "aten.nonzero at mine.py:3"))


class Mine(TokenInsertion):
    """Not registered."""


def test_a_class_need_not_be_registered() -> None:
    assert_memory_order(Mine, count=Counting())
    assert "Mine" not in registry.methods
    with pytest.raises(AssertionError, match=r"Mine in prefill: order 2\.00"):
        assert_memory_order(Mine, count=Counting(square))
    assert "Mine" not in registry.methods
    assert_memory_order(TokenInsertion, count=Counting())
    assert "token_insertion" in registry.methods


def test_a_class_under_a_name_that_is_taken() -> None:
    taken = type("Taken", (TokenInsertion,), {"name": "casa"})
    with pytest.raises(UsageError, match="name 'casa' of another method"):
        assert_memory_order(taken, count=Counting())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (1, 2)}, "sizes 1,2 are too few"),
        ({"sizes": (1, 4, 2)}, "do not rise"),
        ({"sizes": (0, 1, 2)}, "sizes 0 is not usable"),
        ({"axis": "time"}, "unknown axis 'time'"),
        ({"mode": "prefil"}, "unknown mode 'prefil'"),
        ({"gist": 4}, "did you mean 'gists'"),
    ],
)
def test_mistakes(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assert_memory_order("casa", count=Counting(), **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_real_counts() -> None:
    assert assert_memory_order("vanilla_ca", mode="stream").law.endswith("whatever the frames")
    growth = assert_memory_order(Mine, sizes=(8, 16, 32))
    assert growth.bytes_per_kv_token is not None
    with pytest.raises(AssertionError, match=r"order 1\.00.*declared 0"):
        assert_memory_order("token_insertion", mode="stream", declared=0)
