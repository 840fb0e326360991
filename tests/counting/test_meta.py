"""Tensors without storage give the same bytes as real ones, and the same in every repeat and order."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence

import pytest

from harness.counting import scenario
from harness.counting.records import CountKey, Kernels, Mode, Substrate
from harness.counting.run import count_all, count_one
from harness.counting.shapes import ShapeCache
from harness.layout import Span
from harness.session import Session

from .keys import METHODS, MODES, key


def told(asked: CountKey, substrate: Substrate = "meta") -> dict[str, object]:
    """All that a count says but on what it was counted, and what copies from the host change: traffic, and
    the operators' names."""
    record = count_one(asked, substrate)
    assert record.peak is not None, record.outcome
    return record.peak.model_dump(exclude={"substrate": True, "alive": True, "counted": {"bytes_moved"}})


DTYPES = ("bfloat16", "float32")


@pytest.mark.parametrize(
    ("method", "mode", "dtype"),
    [
        (method, mode, DTYPES[(place + turn) % 2])
        for place, method in enumerate(METHODS)
        for turn, mode in enumerate(MODES)
    ],
)
def test_real_tensors_give_the_same_to_the_byte(method: str, mode: Mode, dtype: str) -> None:
    """Every method in every mode, precisions in turn."""
    asked = key(mode, method, dtype=dtype)
    assert told(asked, "meta") == told(asked, "cpu")


@pytest.mark.parametrize("kernels", ["cpu", "cuda-math"])
@pytest.mark.parametrize("mode", ["prefill", "stream"])
@pytest.mark.parametrize("method", ["token_insertion", "vanilla_ca", "casa"])
def test_other_kernels_do_too(method: str, mode: Mode, kernels: Kernels) -> None:
    asked = key(mode, method, dtype="float32", kernels=kernels)
    assert told(asked, "meta") == told(asked, "cpu")


@pytest.mark.parametrize("settings", [{"windows": "all"}, {"pooled_gists": 2}, {"image_updates": "both"}])
def test_settings_do_too(settings: dict[str, object]) -> None:
    for mode in MODES:
        asked = key(mode, "casa", settings=settings)
        assert told(asked, "meta") == told(asked, "cpu")


def test_known_shapes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(ShapeCache):
        def __call__(self, func, args, kwargs):  # type: ignore[no-untyped-def]
            return func(*args, **kwargs)

    asked = [key(mode, method) for method in ("casa", "pruning") for mode in MODES]
    with_cache = [told(one) for one in asked]
    monkeypatch.setattr(scenario, "_shapes", Forgetful())
    assert [told(one) for one in asked] == with_cache


COUNT = """
import json, sys
from harness.counting.records import CountKey
from harness.counting.run import count_all
keys = [CountKey.model_validate(one) for one in json.load(sys.stdin)]
print(json.dumps({r.key.digest: r.peak.model_dump(mode="json") for r in count_all(keys)}))
"""


def test_another_process_and_another_order_change_nothing() -> None:
    keys = [key(mode, method) for method in ("casa", "voco") for mode in ("stream", "train")]
    here = {r.key.digest: r.peak.model_dump(mode="json") for r in count_all(keys) if r.peak}
    assert len(here) == len(keys)
    random.Random(0).shuffle(keys)
    given = json.dumps([one.model_dump(mode="json") for one in keys])
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(here))


@pytest.mark.parametrize("method", METHODS)
def test_a_session_made_turn_by_turn_counts_alike(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn costs the same whether the session before it was made in one pass or in turns."""
    asked = key("stream", method, frames=4)
    in_one_pass = told(asked)
    append = Session.append_spans

    def one_by_one(self: Session, spans: Sequence[Span]) -> None:
        for span in spans:
            append(self, (span,))

    monkeypatch.setattr(Session, "append_spans", one_by_one)
    assert told(asked) == in_one_pass
