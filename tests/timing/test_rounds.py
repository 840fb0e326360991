"""Rounds: who runs when, what is timed, and what a failure costs. No test asserts a time."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch

from harness.measure import latency
from harness.measure.latency import WARM_UPS, Section
from harness.timing.records import PHASES, MethodOutcome, Phase, Timed
from harness.timing.rounds import LEAST_TICKS, Sections, clock_tick_ns, interleave
from tests.measure.test_latency import Clock

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency, "time", made)
    return made


@dataclass
class Stage:
    """Methods that note every run; each takes so many milliseconds of the clock that only they move."""

    clock: Clock
    runs: list[tuple[str, Phase]] = field(default_factory=list)

    def maker(
        self, name: str, cost_ms: int = 1, fails_at: int | None = None, error: type[Exception] = MemoryError
    ) -> Callable[[], Sections]:
        """``fails_at`` is the number of the run that raises, from 0; preparing takes a second."""

        def run(phase: Phase) -> None:
            if fails_at is not None and sum(one == name for one, _ in self.runs) >= fails_at:
                raise error("planted")
            self.runs.append((name, phase))
            self.clock.work(cost_ms)

        def prepare(phase: Phase) -> Phase:
            self.clock.work(1000)
            return phase

        return lambda: {phase: Section(run, partial(prepare, phase)) for phase in PHASES}

    def timed_runs(self, methods: int) -> list[tuple[str, Phase]]:
        """Runs after the warm-up; each stands twice, untimed and timed."""
        return self.runs[methods * len(PHASES) * WARM_UPS :]


def run(
    makers: dict[str, Callable[[], Sections]], rounds: int = 4, order_seed: int = 0, tick_ns: int = 1
) -> dict[str, MethodOutcome]:
    return interleave(
        makers, CPU, rounds=rounds, order_seed=order_seed, progress=lambda text: None, tick_ns=tick_ns
    )


def test_every_method_runs_every_phase_once_a_round_after_an_untimed_run(clock: Clock) -> None:
    stage = Stage(clock)
    found = run({name: stage.maker(name) for name in "abc"})
    runs = stage.timed_runs(3)
    assert runs[::2] == runs[1::2]
    per_round = len(PHASES) * 3
    for start in range(0, 4 * per_round, per_round):
        of_round = runs[::2][start : start + per_round]
        assert Counter(of_round) == {(name, phase): 1 for name in "abc" for phase in PHASES}
        assert [phase for _, phase in of_round] == [phase for phase in PHASES for _ in "abc"]
    for outcome in found.values():
        assert isinstance(outcome, Timed)
        assert all(rounds.raw_ms == (1.0,) * 4 for rounds in outcome.phases.values())


def test_the_order_changes_from_round_to_round_and_follows_from_the_seed(clock: Clock) -> None:
    def order(seed: int) -> list[tuple[str, Phase]]:
        stage = Stage(clock)
        run({name: stage.maker(name) for name in "abc"}, rounds=8, order_seed=seed)
        return stage.timed_runs(3)[::2]

    assert order(0) == order(0) != order(1)
    stretches = order(0)
    orders = {tuple(name for name, _ in stretches[i : i + 3]) for i in range(0, len(stretches), 3)}
    assert len(orders) > 3


@pytest.mark.parametrize("fails_at", [0, 1, len(PHASES) * WARM_UPS + 3])
def test_a_method_that_fails_leaves_and_the_others_go_on(clock: Clock, fails_at: int) -> None:
    stage = Stage(clock)
    found = run({"a": stage.maker("a"), "b": stage.maker("b", fails_at=fails_at), "c": stage.maker("c")})
    assert found["b"].kind == "failed"
    assert found["b"].failure == "out_of_memory"
    for name in "ac":
        outcome = found[name]
        assert isinstance(outcome, Timed)
        assert {len(rounds.raw_ms) for rounds in outcome.phases.values()} == {4}


def test_a_model_that_cannot_be_made_is_an_outcome(clock: Clock) -> None:
    def unmade() -> Sections:
        raise ValueError("planted")

    stage = Stage(clock)
    found = run({"a": unmade, "b": stage.maker("b")})
    assert found["a"].kind == "failed"
    assert "ValueError at tests/timing/test_rounds.py:" in found["a"].message
    assert found["b"].kind == "ok"
    assert {one.kind for one in run({"a": unmade}).values()} == {"failed"}


@pytest.mark.parametrize(
    ("costs", "tick_ns", "inner"),
    [((5, 7), 1000, 1), ((5, 7), 10_000, 2), ((7, 5), 100_000, 20), ((0, 7), 1000, LEAST_TICKS)],
)
def test_what_the_clock_cannot_resolve_is_repeated_by_all_alike(
    clock: Clock, costs: tuple[int, int], tick_ns: int, inner: int
) -> None:
    stage = Stage(clock)
    makers = {name: stage.maker(name, cost) for name, cost in zip("ab", costs, strict=True)}
    found = run(makers, rounds=1, tick_ns=tick_ns)
    for name, cost in zip("ab", costs, strict=True):
        outcome = found[name]
        assert isinstance(outcome, Timed)
        for rounds in outcome.phases.values():
            assert rounds.inner == inner
            assert rounds.raw_ms == pytest.approx((float(cost),))


def test_the_clock_of_this_machine_ticks() -> None:
    assert clock_tick_ns() > 0


def test_the_collector_is_off_in_a_round_and_on_afterwards() -> None:
    states: list[bool] = []

    def sections() -> Sections:
        return {phase: Section(lambda _: states.append(gc.isenabled()), lambda: None) for phase in PHASES}

    run({"a": sections}, rounds=2)
    assert states[len(PHASES) * WARM_UPS :]
    assert not any(states[len(PHASES) * WARM_UPS :])
    assert gc.isenabled()
