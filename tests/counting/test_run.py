"""The grid, scenarios that cannot be counted as they were asked for, and methods that hide what they keep."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.backbones import resolve
from harness.backbones.decoder import Decoder
from harness.counting import run as run_module
from harness.counting.records import CountKey, CountRecord, Kernels, Mode, NotCounted, Peak
from harness.counting.run import count, count_one, scenarios
from harness.counting.spec import CountSpec
from harness.errors import UsageError
from harness.spec import MethodSpec

from .keys import key
from .plugins import FIRST, planted

Plant = Callable[[str], Path]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Registers the method ``planted`` with one line of its own, until the test ends."""
    known = list(registry.methods)

    def write(line: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(planted(line))
        assert not registry.discover([path])
        return path

    yield write
    registry.methods.keep(known)


def peak_of(record: CountRecord) -> Peak:
    assert record.peak is not None, record.outcome
    return record.peak


def message_of(record: CountRecord) -> str:
    assert isinstance(record.outcome, NotCounted), record.outcome
    return record.outcome.message


def test_the_grid_is_resolutions_within_modes_within_methods() -> None:
    spec = CountSpec(
        methods=MethodSpec.parse_list(["vanilla_ca,casa:gists=2"]),
        modes=("train", "decode"),
        frames=(1, 3),
        resolutions=((64, 32), (32, 32)),
    )
    found = [(k.method, k.mode, (k.height, k.width), k.frames) for k in scenarios(spec)]
    assert found == [
        (method, mode, size, frames)
        for method in ("vanilla_ca", "casa")
        for mode in ("train", "decode")
        for size in ((64, 32), (32, 32))
        for frames in (1, 3)
    ]
    train, decode = (next(k for k in scenarios(spec) if k.mode == mode) for mode in ("train", "decode"))
    assert (train.optimizer, decode.optimizer) == ("adamw-foreach", None)
    assert scenarios(spec)[-1].method_config["gists"] == 2
    assert len({k.digest for k in scenarios(spec)}) == len(found)


def test_without_methods_the_grid_has_all() -> None:
    found = [k.method for k in scenarios(CountSpec(frames=(1,)))]
    assert found == list(registry.methods)


@pytest.mark.parametrize(("changes", "message"), [
    ({"backbone": "helium1-3b"}, "unknown backbone 'helium1-3b': did you mean 'helium1-2b'"),
    ({"methods": (MethodSpec("cassa"),)}, "unknown method 'cassa': did you mean 'casa'"),
    ({"methods": (MethodSpec("casa", {"gist": "1"}),)}, "gist"),
    ({"backbone": "helium1-2b", "resolutions": ((448, 450),)}, "448x450.*multiples of 28.*448x448"),
    ({"resolutions": ((0, 64),)}, "resolution 0 is not usable"),
    ({"resolutions": ()}, "no resolution is given"),
    ({"frames": ()}, "no frames is given"),
    ({"frames": (0, 1)}, "frames 0 is not usable; the least is 1"),
    ({"frames": (4, 2)}, r"frames 4,2 do not rise \(2 after 4\)"),
    ({"frames": (2, 2)}, r"do not rise \(2 after 2\)"),
    ({"modes": ("prefil",)}, "unknown mode 'prefil': give one of prefill, decode, stream, train"),
    ({"modes": ()}, "no mode is given"),
    ({"kernels": "rocm"}, "unknown kernels 'rocm'"),
    ({"dtype": "int8"}, "unknown dtype 'int8'"),
    ({"optimizer": "adam"}, "unknown optimizer 'adam'"),
    ({"text": 0}, "text 0 is not usable"),
    ({"text_per_frame": -1}, "text-per-frame -1 is not usable"),
    ({"encode_batch": 0}, "encode-batch 0 is not usable"),
])  # fmt: skip
def test_a_grid_that_cannot_be_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        scenarios(CountSpec(**{"methods": (MethodSpec("casa"),), **changes}))
    assert "\n" not in str(caught.value)


GROUPED: list[tuple[str, dict[str, object], str]] = [
    ("casa", {"window_size": 4}, "bfloat16"),
    ("token_insertion", {}, "float32"),
]


@pytest.mark.parametrize(("method", "settings", "dtype"), GROUPED, ids=["bounded", "float32"])
def test_cudas_math_route_is_counted_only_where_it_is_asked_for(
    method: str, settings: dict[str, object], dtype: str
) -> None:
    def counted(kernels: Kernels, dtype: str = dtype, **changed: object) -> CountRecord:
        options = {**settings, **changed}
        asked = key("prefill", method, frames=2, size=224, backbone="helium1-2b", settings=options)
        return count_one(asked.model_copy(update={"kernels": kernels, "dtype": dtype}))

    refused = counted("cuda")
    assert "attention takes CUDA's math route" in message_of(refused)
    assert f"dtype {dtype}" in message_of(refused)
    assert "--kernels cuda-math" in message_of(refused)
    peak = peak_of(counted("cuda-math"))
    assert peak.routes == ("blocks/math",)
    unbounded = counted("cuda", "bfloat16", **({"window_size": None} if settings else {}))
    assert peak.peak_bytes > peak_of(unbounded).peak_bytes


def test_the_math_route_is_quadratic_and_the_fused_one_is_not() -> None:
    # In a training step; without gradients a causal block's queries run some at a time.
    def above(kernels: Kernels, frames: int) -> int:
        peak = peak_of(count_one(key("train", frames=frames, kernels=kernels)))
        return peak.phases["forward"] - peak.resting_bytes

    fused, math = ([above(k, n) for n in (16, 32, 64)] for k in ("cuda", "cuda-math"))
    assert (fused[2] - fused[1]) / (fused[1] - fused[0]) < 2.1
    assert (math[2] - math[1]) / (math[1] - math[0]) > 3
    assert all(a > b for a, b in zip(math, fused, strict=True))


NEEDS_VALUES = [
    "y.sum().item()",
    "bool(y.sum() > 0)",
    "y.nonzero()",
    "y[y > 0]",
    "y.tolist()",
    "y.float().numpy(force=True)",
    "y[:, 0].float().numpy()",
    "torch.unique(y[:, 0].float())",
    "y.masked_select(y > 0)",
]


@pytest.mark.parametrize("line", NEEDS_VALUES)
def test_what_needs_values_is_counted_on_real_tensors_and_says_so(plant: Plant, line: str) -> None:
    path = plant(line)
    peak = peak_of(count_one(key(method="planted")))
    assert peak.substrate == "cpu"
    assert peak.reason is not None
    assert f"{path}:{FIRST} needs the values of a tensor (`{line}`): " in peak.reason
    assert peak.peak_bytes >= peak_of(count_one(key(method="vanilla_ca"))).peak_bytes


def test_what_needs_values_is_not_counted_where_it_is_too_large(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plant("y.sum().item()")
    large = message_of(count_one(key(method="planted", backbone="helium1-2b", size=56)))
    assert large.startswith(f"{path}:{FIRST} needs the values of a tensor (`y.sum().item()`)")
    assert "up to 50,000,000 parameters and 16,384 image tokens" in large
    assert "use --backbone tiny-qwen3 and fewer frames" in large
    monkeypatch.setattr(run_module, "REAL_TOKENS", 10)
    assert "up to 50,000,000 parameters and 10 image tokens" in message_of(count_one(key(method="planted")))


@pytest.mark.parametrize(("line", "error"), [
    ("raise ValueError('two\\nlines')", "ValueError at {where}: two"),
    ("y @ y", "RuntimeError at {where}: "),
    ("y.nosuch", "AttributeError at {where}: "),
])  # fmt: skip
def test_a_method_that_raises_is_a_record_with_its_line(plant: Plant, line: str, error: str) -> None:
    path = plant(line)
    records = count(CountSpec(methods=MethodSpec.parse_list(["planted,vanilla_ca"]), frames=(2,)))
    assert message_of(records[0]).startswith(error.format(where=f"{path}:{FIRST}"))
    assert "\n" not in message_of(records[0])
    assert isinstance(records[0].outcome, NotCounted)
    assert "Traceback" in (records[0].outcome.traceback or "")
    assert records[1].peak is not None


def test_an_error_of_real_tensors_is_a_record_too(plant: Plant) -> None:
    path = plant("1 / (0 * int(y.sum().item() * 0))")
    assert message_of(count_one(key(method="planted"))).startswith(f"ZeroDivisionError at {path}:{FIRST}: ")


HIDDEN: list[tuple[Mode, str, str]] = [
    ("decode", "token", "vars(self).setdefault('kept', []).append(y)"),
    ("stream", "frame", "KEPT.append(y)"),
    ("stream", "token", "KEPT.append(lambda: y)"),
]


@pytest.mark.parametrize(("mode", "phase", "line"), HIDDEN)
def test_frames_kept_outside_of_the_state_are_in_the_peaks(
    plant: Plant, line: str, mode: Mode, phase: str
) -> None:
    plant(line)

    def grown(method: str) -> int:
        """By 8 more frames: more than one granule holds, so that nothing of it is rounding."""
        few, many = (peak_of(count_one(key(mode, method, frames=n))) for n in (4, 12))
        assert few.state_bytes["image_kv"] == many.state_bytes["image_kv"]
        return many.phases[phase] - few.phases[phase]

    model = resolve("tiny-qwen3").config(64, 64)
    tokens = 8 * peak_of(count_one(key("decode", "vanilla_ca", frames=1))).state_bytes["image_kv"]
    # A key and a value per layer of as many numbers as the model's heads have.
    head = model.hidden_size // model.num_attention_heads
    rows = tokens // (2 * 2 * model.num_hidden_layers * model.num_key_value_heads * head)
    assert grown("planted") - grown("vanilla_ca") == rows * 2 * model.hidden_size


def block_parameters(config: Any, biased: bool) -> int:
    """Projections, gated FFN and two norms of a decoder block, by arithmetic."""
    width, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or width // heads
    projections: int = 2 * width * heads * head + 2 * width * kv * head
    biases: int = biased * (heads + 2 * kv) * head
    ffn: int = 3 * width * config.intermediate_size
    return projections + biases + ffn + 2 * int(width)


@pytest.mark.parametrize(("name", "billions", "biased"), [
    ("helium1-2b", 2.0, False),
    ("qwen2.5-vl-3b", 3.1, True),
    ("qwen2.5-vl-7b", 7.6, True),
])  # fmt: skip
def test_published_sizes_have_the_parameters_of_their_configs(
    name: str, billions: float, biased: bool
) -> None:
    spec = resolve(name)
    config: Any = spec.config(spec.intermediate_size, 0)
    with torch.device("meta"):
        decoder = Decoder(config)
    tables = (1 if config.tie_word_embeddings else 2) * config.vocab_size * config.hidden_size
    blocks = config.num_hidden_layers * block_parameters(config, biased)
    assert sum(p.numel() for p in set(decoder.parameters())) == tables + blocks + config.hidden_size
    assert round((tables + blocks) / 1e9, 1) == billions


def test_text_of_a_published_size_takes_what_its_config_says() -> None:
    """Weights of 2 bytes, and a key and a value per layer for every row."""
    peak = peak_of(count_one(key(frames=1, size=56, backbone="helium1-2b")))
    assert peak.at_peak["parameters"] >= 2 * peak.parameters
    assert peak.at_peak["parameters"] - 2 * peak.parameters < 512 * 1500
    assert peak.kv_tokens == 1 + (56 // 28) ** 2 + 16
    assert sum(peak.state_bytes.values()) == peak.kv_tokens * 28 * 2 * 8 * 128 * 2


HOST = """
import resource, sys
from harness.counting.records import CountKey
from harness.counting.run import count_one
record = count_one(CountKey.model_validate_json(sys.stdin.read()))
assert record.peak is not None, record.outcome
print(record.peak.peak_bytes, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_host_needs_little_memory_whatever_the_size() -> None:
    asked: CountKey = key(frames=1024, size=448, backbone="helium1-2b")
    command = [sys.executable, "-c", HOST]
    done = subprocess.run(command, input=asked.model_dump_json(), capture_output=True, text=True, check=True)
    simulated, host = map(int, done.stdout.split())
    assert simulated > 2**35
    assert host < 2 * 10**9
