"""Grids that processes beside this one count: the same records, and no death without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.counting import side_by_side
from harness.counting.records import CountRecord
from harness.counting.run import count
from harness.counting.side_by_side import SideBySide
from harness.counting.spec import CountSpec
from harness.errors import InfrastructureError
from harness.spec import MethodSpec

OWN = """
import os
from harness.fusion_impls.vanilla_ca import VanillaCA
from harness.registry import register_method

@register_method("{name}")
class Own(VanillaCA):
    parent = {parent}
    def layer(self, *args, **kwargs):
        if os.getpid() != self.parent:
            print("said by a method")
            {then}
        return super().layer(*args, **kwargs)
"""


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    monkeypatch.setattr(side_by_side, "WORTH_A_PROCESS", 2)
    registry.discover()
    known = registry.methods.names()
    yield
    registry.methods.keep(known)


def own(folder: Path, name: str, then: str) -> Path:
    """A method that does something in other processes only."""
    path = folder / f"{name}.py"
    path.write_text(OWN.format(name=name, parent=os.getpid(), then=then))
    return path


def told(records: list[CountRecord]) -> list[str]:
    return [record.model_dump_json(exclude={"cpu_seconds"}) for record in records]


def test_records_are_those_of_one_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = own(tmp_path, "own_elsewhere", "pass")
    spec = CountSpec(
        methods=MethodSpec.parse_list(["own_elsewhere,casa:gists=3"]),
        modes=("prefill", "train"),
        frames=(1, 3),
        plugins=(plugin,),
    )
    said: list[str] = []
    with SideBySide() as beside:
        records = [*beside(spec, said.append), *beside(spec)]
    out, err = capfd.readouterr()
    assert told(records) == 2 * told(count(spec))
    assert said[0] == "own_elsewhere prefill, 1 frame(s) of 64x64"
    assert len(said) == 8
    assert (out, "said by a method" in err) == ("", True)


def test_a_small_grid_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "Crew", lambda *_: pytest.fail("a crew was made"))
    spec = CountSpec(methods=MethodSpec.parse_list(["vanilla_ca"]), frames=(1, 2, 3))
    with SideBySide() as beside:
        assert told(beside(spec)) == told(count(spec))


def test_a_scenario_that_ends_its_process_is_named(tmp_path: Path) -> None:
    plugin = own(tmp_path, "own_end", "os._exit(9)")
    spec = CountSpec(methods=MethodSpec.parse_list(["own_end"]), frames=(1, 2, 3, 4), plugins=(plugin,))
    named = r"on own_end prefill, \d frame.* status 9"
    with pytest.raises(InfrastructureError, match=named), SideBySide() as beside:
        beside(spec)
