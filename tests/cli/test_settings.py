"""Method and task specifications as text: reading, writing and typing of settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.settings import (
    build_config,
    changed,
    config_json,
    join,
    place,
    settings_of,
    split,
    split_places,
    to_text,
)
from harness.spec import EvalSpec, MethodSpec, TaskSpec, parse_resolutions

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@dataclass(frozen=True, kw_only=True)
class Full:
    whole: int = 1
    real: float = 0.5
    flag: bool = False
    text: str = "a"
    choice: Literal["x", "y", 3] = "x"
    maybe: int | None = None
    either: int | str = 0
    many: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (0, "a")
    folder: Path = Path("here")

    def __post_init__(self) -> None:
        if self.whole > 1000:
            raise ValueError("whole is too large; the most is 1000")


CONFIGS = st.builds(
    Full,
    whole=st.integers(-1000, 1000),
    real=st.floats(allow_nan=False),
    flag=st.booleans(),
    text=st.text(),
    choice=st.sampled_from(["x", "y", 3]),
    maybe=st.none() | st.integers(),
    either=st.integers(),
    many=st.lists(st.integers()).map(tuple),
    pair=st.tuples(st.integers(), st.text(min_size=1).filter(lambda text: text[0] != "/")),
    folder=st.sampled_from([Path("a+b/c,d"), Path("/x y")]),
)


@given(NAMES, st.dictionaries(NAMES, st.text()))
def test_a_specification_survives_its_text(name: str, config: dict[str, object]) -> None:
    spec = MethodSpec(name, config)
    assert MethodSpec.parse(str(spec)) == spec


@given(st.lists(st.builds(MethodSpec, NAMES, st.dictionaries(NAMES, st.text())), max_size=4))
def test_a_list_of_specifications_survives_its_text(specs: list[MethodSpec]) -> None:
    assert list(MethodSpec.parse_list([join(map(str, specs), ",")])) == specs


@given(CONFIGS)
def test_a_config_survives_its_text_and_its_json(config: Full) -> None:
    text = {name: to_text(value) for name, value in vars(config).items()}
    assert build_config(Full, text, "toy") == config
    assert build_config(Full, config_json(config), "toy") == config
    assert build_config(Full, changed(config), "toy") == config


@given(st.lists(st.text(alphabet="ab+", min_size=1).filter(lambda part: part[0] != "+"), min_size=1))
def test_splitting_undoes_joining(parts: list[str]) -> None:
    assert split(join(parts, "+"), "+") == parts


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("whole", "1.5", "a whole number"),
        ("whole", True, "a whole number"),
        ("whole", 1.0, "a whole number"),
        ("real", "nan", "a number"),
        ("real", "x", "a number"),
        ("flag", "yes", "true or false"),
        ("flag", 1, "true or false"),
        ("text", 3, "text"),
        ("choice", "z", "one of x, y, 3"),
        ("choice", True, "one of x, y, 3"),
        ("maybe", "x", "a whole number or none"),
        ("many", "1/x", "items separated by '/', each a whole number"),
        ("many", 3, "items separated by '/'"),
        ("pair", "1", "2 items separated by '/': a whole number, text"),
        ("folder", "", "Path"),
        ("whole", "2000", "whole is too large"),
    ],
)
def test_a_value_of_the_wrong_type_is_answered_with_the_rule(name: str, value: object, rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_config(Full, {name: value}, "method 'toy'")
    assert "method 'toy'" in str(caught.value)
    assert rule in str(caught.value)


def test_defaults_are_part_of_the_identity_and_not_of_the_label() -> None:
    assert config_json(Full())["many"] == [1, 2]
    assert changed(Full(whole=3)) == {"whole": 3}


def test_every_setting_is_described() -> None:
    described = {setting.name: (setting.type, setting.default) for setting in settings_of(Full)}
    assert described["maybe"] == ("int or none", "none")
    assert described["many"] == ("tuple of int", "1/2")


def test_resolutions_are_height_by_width() -> None:
    assert parse_resolutions(["32,48x64", "16"]) == ((32, 32), (48, 64), (16, 16))


def test_a_task_keeps_its_path() -> None:
    assert TaskSpec.parse("folder:path=/data/a=b") == TaskSpec("folder", {"path": "/data/a=b"})


def test_names_in_place_of_specifications_are_explained() -> None:
    with pytest.raises(UsageError, match=r"TaskSpec"):
        EvalSpec(tasks=("videoqa",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name", "config"),
    [
        ("lmms:mme", "lmms:mme", {}),
        ("lmms:mme+data=/a:b", "lmms:mme", {"data": "/a:b"}),
        ("lmms:mme:data=/a+limit=3", "lmms:mme", {"data": "/a", "limit": "3"}),
        ("lmms:3d-bench.v2+data=a++b", "lmms:3d-bench.v2", {"data": "a+b"}),
    ],
)
def test_a_task_of_a_family(text: str, name: str, config: dict[str, object]) -> None:
    spec = TaskSpec.parse(text)
    assert (spec.name, dict(spec.config)) == (name, config)
    assert TaskSpec.parse(str(spec)) == spec


@pytest.mark.parametrize("text", ["lmms:", "lmms:mme+", "lmms:mme+data", "lmms:a:b:c=1", "lmms:mme++data=1"])
def test_what_is_no_task_of_a_family(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a (setting|name); write"):
        TaskSpec.parse(text)


def test_a_method_has_no_family() -> None:
    with pytest.raises(UsageError, match="'casa' in 'lmms:casa' is not a setting"):
        MethodSpec.parse("lmms:casa")


def test_places_are_no_part_of_the_identity() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Placed:
        data: str = place()
        count: int = 2

    assert Placed().data == ""
    assert split_places(build_config(Placed, {"data": "/x"}, "x")) == ({"count": 2}, {"data": "/x"})
    assert config_json(Placed(data="/x")) == {"data": "/x", "count": 2}


def test_the_folder_of_a_run_has_no_colon_in_its_name() -> None:
    assert EvalSpec(tasks=(TaskSpec.parse("lmms:mme"),)).out_dir == Path("results/runs/lmms-mme")
