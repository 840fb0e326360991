"""Where the configuration is found, what it may say, and how a mistake is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.gate.config import GateConfig, find_config, load_config
from harness.spec import MethodSpec

from .synthetic import config


def test_it_is_found_upwards(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no harness\.toml .*write one"):
        find_config(deep)
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.harness]\nmethods = ["casa"]')
    assert find_config(deep) == project
    assert load_config(project).methods == ("casa",)
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n")
    assert find_config(deep) == project
    own = tmp_path / "harness.toml"
    own.write_text("")
    assert find_config(deep) == own
    assert load_config(own) == GateConfig()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    made = config(plugins=["my.py"], methods=["casa:gists=4,flamingo"], text_per_frame=[0, 8])
    first, second = made.specs(tmp_path)
    assert first.plugins == (tmp_path / "my.py",)
    assert first.methods == (MethodSpec("casa", {"gists": "4"}), MethodSpec("flamingo"))
    assert (first.text_per_frame, second.text_per_frame) == (0, 8)


def test_axes_follow_from_the_sizes() -> None:
    assert config().checked_axes == ("frames",)
    assert config(resolution=[32, 64, "64x128"]).checked_axes == ("frames", "pixels")
    assert config(resolution=[32, 64, "16x64"]).checked_axes == ("frames",)
    assert config(frames=[1], axes=[]).checked_axes == ()


def test_what_is_no_scenario_is_not_part_of_the_grid() -> None:
    assert config(tolerance={"order": 0.1}, baseline="x.json").grid() == config().grid()
    assert config(frames=[1, 2, 3]).grid() != config().grid()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"method": ["casa"]}, r"unknown key 'method': did you mean 'methods'"),
        ({"tolerance": {"byte": 1}}, r"unknown key 'byte' of \[tolerance\]: did you mean 'bytes'"),
        ({"declared": {"casa": {"prefill_frame": 1}}}, r"'prefill_frame' of \[declared\]: did you mean"),
        ({"ratio": [{"metod": "a"}]}, r"ratio\.0\.method is missing"),
        ({"frames": "8"}, r"frames = '8' is not usable; it should be an array"),
        ({"frames": [1.5, 2, 3]}, r"frames\.0 = 1\.5 is not usable; it should be a valid integer"),
        ({"frames": [True, 2, 3]}, r"frames\.0 = True is not usable"),
        ({"frames": [0, 1, 2]}, "frames 0 is not usable; the least is 1"),
        ({"frames": [4, 2, 1]}, r"frames 4,2,1 do not rise \(2 after 4\)"),
        ({"frames": []}, "no frames is given"),
        ({"frames": [1, 2]}, r"the order over frames needs 3 sizes, but 2 are given"),
        ({"resolution": [64], "axes": ["pixels"]}, "the order over pixels needs 3 sizes, but 1 is given"),
        ({"resolution": ["64y"]}, "resolution '64y' is not a whole number"),
        ({"axes": ["time"]}, r"axes\.0 = 'time' is not usable; it should be 'frames' or 'pixels'"),
        ({"modes": []}, r"modes = \(\) is not usable"),
        ({"modes": ["prefil"]}, r"modes\.0 = 'prefil' is not usable; it should be 'prefill'"),
        ({"text_per_frame": 8}, "text_per_frame must hold 0"),
        ({"text_per_frame": [8, 0]}, "do not rise"),
        ({"tolerance": {"order": 0.6}}, r"tolerance\.order = 0\.6 is not usable"),
        ({"tolerance": {"relative": -0.1}}, r"tolerance\.relative = -0\.1 is not usable"),
        ({"tolerance": {"relative": float("nan")}}, r"tolerance\.relative = nan is not usable"),
        ({"tolerance": {"bytes": 2**31}}, r"tolerance\.bytes = 2147483648 is not usable"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"optimizer": "adamw-fused"}, "unknown optimizer 'adamw-fused'"),
        ({"methods": ["casa:gists"]}, "'gists' in 'casa:gists' is not a setting"),
        (
            {"ratio": [{"method": "a", "of": "b", "mode": "train", "most": 1}]},
            "mode 'train' is not in modes",
        ),
        (
            {"ratio": [{"method": "a", "of": "b", "mode": "prefill", "most": 1, "frames": [3]}]},
            "3 is not in frames",
        ),
        ({"ratio": [{"method": "a", "of": "b", "mode": "prefill", "most": 0}]}, r"ratio\.0\.most = 0"),
    ],
)
def test_mistakes_are_answered_in_one_line(document: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        config(**document)
    assert str(caught.value).startswith("harness.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("harness.toml", b"methods = [", "cannot be read as TOML"),
        ("harness.toml", b"\xff", "cannot be read as TOML"),
        ("pyproject.toml", b"[project]\n", r"has no table \[tool\.harness\]"),
        ("harness.toml", None, "does not exist"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_config(path)
