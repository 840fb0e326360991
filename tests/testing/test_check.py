"""How a check is asked for, and what a failure tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor

from harness.backbones.decoder import DecoderBlock
from harness.errors import UsageError
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder, Step
from harness.fusion_impls.token_insertion import TokenInsertion
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.testing import PropertyError, check_fusion_method
from harness.testing.plans import Item, Plan, atoms, chunkings, random_plan
from harness.testing.subjects import Target


class SeesNextRow(TokenInsertion):
    """Leaks the next row into each."""

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        return super().layer(i, block, h_rd + 0.1 * h_rd.roll(-1, 0), step)


class RaisesOnFrames(TokenInsertion):
    """Fails where a chunk has two frames."""

    def begin(self, step: Step) -> None:
        if len(set(step.layout.images.frame.tolist())) > 1:
            raise LookupError("two frames\nand more")


class Unregistered(FusionMethod):
    """Has nothing but what a method must have, and was never registered."""

    summary = "plain insertion"
    paper = "none"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions="one_per_frame", inline=True)


def test_a_failure_names_everything_and_runs_again() -> None:
    with pytest.raises(PropertyError) as caught:
        check_fusion_method(SeesNextRow, properties=["streaming", "causality"], streams=2)
    error = caught.value
    assert (error.method, error.property, error.also) == ("SeesNextRow", "causality", ("streaming",))
    for text in (
        "what comes later changes nothing before",
        error.plan,
        error.found,
        "row 0 of 2",
        "again: check_f",
    ):
        assert text in str(error)
    with pytest.raises(PropertyError) as again:
        check_fusion_method(
            SeesNextRow, properties=[error.property], backbones=[error.backbone], plan=error.plan
        )
    assert again.value.found == error.found


def test_a_failure_comes_with_the_smallest_stream_found() -> None:
    with pytest.raises(PropertyError) as caught:
        check_fusion_method(SeesNextRow, properties=["causality"], plan="3: t3 f4 t2 f2= t4 | t3")
    assert caught.value.plan == "3: t2"


def test_what_a_method_raises_is_a_failure_with_its_cause() -> None:
    with pytest.raises(PropertyError, match="LookupError: two frames") as caught:
        check_fusion_method(RaisesOnFrames, properties=["batch"], plan="0: f2 f2")
    assert isinstance(caught.value.__cause__, LookupError)
    assert "the method itself fails" in caught.value.cause


def test_a_class_that_is_not_registered_goes_by_its_own_name() -> None:
    assert check_fusion_method(Unregistered, properties=["batch"], streams=1) == ("batch",)
    with pytest.raises(UsageError, match="2 images, but Unregistered is set to max_images=1"):
        Target.of(Unregistered, {"max_images": 1}).build("qwen3").run([Plan.parse("0: f2 t1 f2").sample()])


class PlainConfig(FusionConfig):
    """Not a dataclass itself, so that its field would be lost."""

    tokens: int = 4


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (object, "'object' is .*must be a subclass"),
        (3, "'3' is 3; it must be a subclass"),
        (type("Bare", (FusionMethod,), {}), r"'Bare' lacks the class variable\(s\) summary, paper, memory"),
        (type("Few", (Unregistered,), {"lay_out": FusionMethod.lay_out}), "'Few' lacks lay_out"),
        (type("Number", (Unregistered,), {"memory": 1}), "'Number' has memory=1; give a .*MemoryOrder"),
        (type("Plain", (Unregistered,), {"Config": PlainConfig}), "'Plain': Config must be a frozen data"),
    ],
)
def test_a_class_that_is_no_method_is_refused_by_what_it_lacks(cls: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_fusion_method(cls)  # type: ignore[arg-type]  # what a user may pass by mistake


def test_an_order_of_memory_beyond_quadratic_is_refused() -> None:
    with pytest.raises(UsageError, match=r"streaming_frames=3 is not usable; give 0"):
        MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=3, streaming_pixels=1)  # type: ignore[arg-type]


def test_what_was_checked_is_told() -> None:
    asked = ["frames_freed", "batch", "causality"]
    assert check_fusion_method("token_insertion", properties=asked, streams=1) == ("causality", "batch")
    asked = ["causality", "prompt_dependence"]
    prompt = check_fusion_method("pruning:ranked_by=prompt", properties=asked, streams=1)
    assert prompt == ("prompt_dependence",)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("tokeninsertion", {}, "did you mean 'token_insertion'"),
        ("casa:gist=1", {}, "did you mean 'gists'"),
        ("casa", {"properties": ["stream"]}, "did you mean 'streaming'"),
        ("casa", {"backbones": ["gpt"]}, "give one of qwen3, llama"),
        ("casa", {"plan": "t1 f2"}, "write SEED: ITEMS"),
        ("casa", {"plan": "1: f0"}, "'f0' is not usable"),
        ("casa", {"plan": "1: t1 | f2"}, "a branch is text"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(
    method: str, options: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_fusion_method(method, **options)  # type: ignore[arg-type]  # one option of several types


def test_a_plan_is_what_its_text_says() -> None:
    plan = Plan.parse("7: t2 f4 f3= t0 | t3 t1")
    assert plan == Plan(7, (Item(False, 2), Item(True, 4), Item(True, 3, True), Item(False, 0)), (3, 1))
    assert all(Plan.parse(str(one)) == one for one in map(random_plan, range(20)))


def test_a_shorter_plan_has_the_same_contents() -> None:
    long, short = (Plan.parse(f"3: {items}").spans() for items in ("t2 f3 t2", "t2 f3"))
    assert [str(span) for span in long[:2]] == [str(span) for span in short]


def test_every_chunking_ends_with_the_stream() -> None:
    spans = atoms(Plan.parse("1: t3 f2 t1").spans())
    assert len(spans) == 5
    ways = chunkings(5, 1)
    assert {ends[-1] for ends in ways.values()} == {5}
    assert ways["one by one"] == [1, 2, 3, 4, 5]
    assert len(ways) == 3
