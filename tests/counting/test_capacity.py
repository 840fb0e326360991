"""How many frames fit: the search on made-up peaks, and ``harness plan`` from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.counting.capacity import Capacity, capacities, largest
from harness.counting.records import CountRecord
from harness.counting.run import count_one
from harness.counting.spec import CountSpec
from harness.spec import MethodSpec

from ..counted import count_key, peak, record

MOST = 4096


class Asked:
    """Peaks from a function of frames, and which were asked for."""

    def __init__(self, function: Callable[[int], int | str]) -> None:
        self.function = function
        self.frames: list[int] = []

    def __call__(self, frames: int) -> CountRecord:
        self.frames.append(frames)
        found = self.function(frames)
        return record(count_key(frames=frames), found if isinstance(found, str) else peak(found))


def search(function: Callable[[int], int | str], budget: int, most: int = MOST) -> tuple[Capacity, Asked]:
    asked = Asked(function)
    found = largest(count_key(), asked, budget, most)
    assert all(1 <= frames <= most for frames in asked.frames)
    assert len(set(asked.frames)) == len(asked.frames)
    assert found.counted == len(asked.frames) or found.limit == "failed"
    return found, asked


def brute(function: Callable[[int], int], budget: int, most: int) -> int:
    return max((n for n in range(1, most + 1) if function(n) <= budget), default=0)


FUNCTIONS: dict[str, Callable[[int], int]] = {
    "line": lambda n: 1000 + 7 * n,
    "square": lambda n: 1000 + n * n,
    "plateaus": lambda n: 1000 + 640 * (n // 100),
    "step": lambda n: 1000 if n < 777 else 10**9,
    "flat, then a line": lambda n: max(9000, 20 * n),
    "a line, then steep": lambda n: n if n < 1000 else 1000 + 500 * (n - 1000),
}


@pytest.mark.parametrize("budget", [999, 1001, 1007, 5000, 9000, 20_000, 30_000])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_largest_that_fits_is_found(name: str, budget: int) -> None:
    function = FUNCTIONS[name]
    found, asked = search(function, budget)
    assert found.frames == brute(function, budget, MOST)
    assert found.limit == ("tried" if found.frames == MOST else "card")
    assert found.peak_bytes == function(max(found.frames, 1))
    assert found.key.frames == max(found.frames, 1)
    # Twelve halvings of 4,096, each at worst after a guess that does not halve, and the way up.
    assert len(asked.frames) <= 2 * 12 + 8


@given(
    steps=st.lists(st.integers(0, 50) | st.sampled_from([0, 0, 10**6]), min_size=1, max_size=300),
    budget=st.integers(0, 20_000),
)
def test_the_search_equals_trying_all(steps: list[int], budget: int) -> None:
    peaks = [100]
    for step in steps:
        peaks.append(peaks[-1] + step)
    found, asked = search(lambda n: peaks[n - 1], budget, len(peaks))
    assert found.frames == brute(lambda n: peaks[n - 1], budget, len(peaks))
    assert (found.limit == "tried") == (peaks[-1] <= budget)
    assert len(asked.frames) <= 2 * len(peaks).bit_length() + 6


def test_a_straight_line_takes_few_counts() -> None:
    _, asked = search(lambda n: 10**9 + 123_457 * n, 10**9 + 123_457 * 3000 + 5)
    assert len(asked.frames) <= 12


def test_not_even_one_frame() -> None:
    found, asked = search(lambda n: 1000 * n, 999)
    assert (found.frames, found.limit, found.peak_bytes) == (0, "card", 1000)
    assert asked.frames == [1]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_frames_at_most(most: int) -> None:
    for budget in (10, 20, 30):
        found, _ = search(lambda n: 10 * n, budget, most)
        assert found.frames == min(budget // 10, most)


@pytest.mark.parametrize("at", [1, 2, 50])
def test_a_scenario_that_fails_ends_the_search(at: int) -> None:
    found, _ = search(lambda n: "planted" if n >= at else n, 10**6)
    assert (found.frames, found.limit, found.message) == (0, "failed", "planted")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_a_found_size_fits_and_the_next_does_not() -> None:
    spec = CountSpec(methods=(MethodSpec("token_insertion"),), text_per_frame=2, modes=("stream",))
    budget = 5 * 2**19
    (found,) = capacities(spec, budget)
    assert found.limit == "card"
    assert found.frames > 1
    for frames, fits in ((found.frames, True), (found.frames + 1, False)):
        counted = count_one(found.key.model_copy(update={"frames": frames})).peak
        assert counted is not None
        assert (counted.peak_bytes <= budget) == fits
        assert not fits or counted.peak_bytes == found.peak_bytes


SMALL = (
    "--gpu",
    "2.5MiB",
    "--reserve",
    "0",
    "--methods",
    "token_insertion,vanilla_ca",
    "--text-per-frame",
    "2",
)


def test_plan_as_json() -> None:
    done = run(*SMALL, "--json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    places = [(one["key"]["method"], one["key"]["mode"]) for one in found]
    assert places == [
        (method, mode) for mode in ("prefill", "stream") for method in ("token_insertion", "vanilla_ca")
    ]
    assert all(one["peak_bytes"] <= 2.5 * 2**20 and one["limit"] == "card" for one in found)
    frames = dict(zip(places, (one["frames"] for one in found), strict=True))
    assert all(frames.values())
    # A turn of cross-attention keeps its text only.
    assert frames["vanilla_ca", "stream"] > 2 * frames["token_insertion", "stream"]


def test_plan_as_a_table() -> None:
    done = run("--gpu", "2.5MiB", "--reserve", "0", "--methods", "token_insertion", "--text-per-frame", "2")
    assert done.exit_code == 0, done.output
    assert "frames of a prompt, 64x64" in done.stdout
    assert "turns of a session, 64x64" in done.stdout
    assert "token_insertion" in done.stdout


def test_a_card_that_holds_no_weights_holds_no_frame() -> None:
    done = run("--gpu", "1MiB", "--reserve", "0", "--methods", "vanilla_ca", "--json")
    assert done.exit_code == 0
    assert [one["frames"] for one in json.loads(done.stdout)] == [0, 0]


@pytest.mark.parametrize(("arguments", "message"), [
    (("--gpu", "eighty"), "'eighty' is no size of memory; write for example 80GB"),
    (("--gpu", "0"), "'0' is no memory at all"),
    (("--gpu", "1GiB"), "nothing of --gpu 1GiB is left beside --reserve 1GiB"),
    (("--gpu", "8GB", "--methods", "cassa"), "unknown method 'cassa': did you mean 'casa'"),
    (("--gpu", "8GB", "--resolution", "33"), "resolution 33x33"),
])  # fmt: skip
def test_a_plan_that_cannot_be_is_one_line_and_status_2(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""


def test_a_plan_of_which_nothing_could_be_counted_has_status_3() -> None:
    done = run("--gpu", "80GB", "--methods", "token_insertion", "--backbone", "helium1-2b",
               "--dtype", "float32", "--resolution", "56")  # fmt: skip
    assert done.exit_code == 3
    assert "not counted: attention takes CUDA's math route" in done.stderr
    assert "not counted" in done.stdout
