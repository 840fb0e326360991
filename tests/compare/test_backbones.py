"""Two backbones compared on the same task, where both sides ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compare.results import PairResult
from harness.compare.run import compare_sides
from harness.compare.sides import find_sides
from harness.compare.words import verdict
from harness.errors import UsageError
from tests.compare.stores import cell, rate


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for seed in (0, 1):
        cell(tmp_path, "alpha", rate(seed, 0.8), seed=seed, backbone="tiny")
        cell(tmp_path, "alpha", rate(10 + seed, 0.3), seed=seed, backbone="wide")
    for seed, backbone in enumerate(("small@0123abcd", "small@ffff0000", "large@0")):
        config = {"checkpoint": backbone.partition("@")[0]}
        cell(tmp_path, "published", rate(20 + seed, 0.5), backbone=backbone, method_config=config)
    return tmp_path


def compared(first: str, second: str, run: Path) -> PairResult:
    (result,) = compare_sides(find_sides(first, second, run)[0])
    return result


def test_the_same_method_on_two_backbones(run: Path) -> None:
    result = compared("alpha@tiny", "alpha@wide", run)
    (place,) = result.places
    assert "backbone" not in place.setting
    assert place.overall is not None
    assert place.overall.models == (2, 2)
    assert place.overall.borne
    lines = verdict(result)
    assert lines[0].startswith("alpha@tiny is more accurate than alpha@wide")
    assert lines[-1].startswith("tiny and wide differ in more than the fusion")


def test_a_published_model_beside_a_method(run: Path) -> None:
    result = compared("alpha@tiny", "published@large", run)
    assert result.second.name == "published@large@0"
    assert len(result.places) == 1


def test_without_backbones_none_is_compared_across_and_the_way_is_named(run: Path) -> None:
    result = compared("alpha", "large", run)
    assert result.places == ()
    assert 'backbone "' in result.refused[0]
    assert "METHOD@BACKBONE" in result.refused[0]
    one_side = compared("alpha", "large@large", run)
    assert one_side.places == ()


def test_the_name_of_a_published_model_names_its_backbone(run: Path) -> None:
    result = compared("alpha@tiny", "large", run)
    assert result.second.name == "large"
    assert len(result.places) == 1
    assert compared("small", "large", run).places == ()
    assert len(compared("small@small@ffff0000", "large", run).places) == 1


def test_a_name_that_fits_none_or_several_lists_them(run: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown backbone 'tinny' of alpha .*: did you mean 'tiny'"):
        find_sides("alpha@tinny", "alpha@wide", run)
    with pytest.raises(UsageError, match=r"did you mean 'small@\w+' or 'small@\w+'"):
        find_sides("alpha@tiny", "published@small", run)
    with pytest.raises(UsageError, match="unknown method"):
        find_sides("beta@tiny", "alpha@wide", run)
