"""Every property catches a method that breaks it: faults planted in what `harness new fusion` writes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import pytest

from harness import registry
from harness.cli.templates import FUSION
from harness.fusion import FusionMethod
from harness.testing import PROPERTIES, PropertyError, check_fusion_method

_numbers = itertools.count()
CROSS = 'attend(q_rhd, k_skd, v_skd, step.patterns["window"], attention.scale)'
LAYER = "        x_rd = block.normed(h_rd)\n"
BEGIN = "        describe_images(step)\n"
INIT = "        self.tokens = config.tokens\n"
BLOCKS = "        blocks = window_blocks(step.layout.rows, keys, Visible())\n"
FINISH = "        drop_past_windows(step, IMAGES)\n"


@dataclass(frozen=True)
class Mutant:
    """A planted fault: text replaced by other text, and the property that must name it."""

    name: str
    property: str
    old: str
    new: str


def after(line: str, added: str) -> tuple[str, str]:
    return line, f"{line}        {added}\n"


MUTANTS = [
    Mutant(
        "rows are lost", "runs", "return block.ffn(h_rd + attended)", "return block.ffn(h_rd + attended)[1:]"
    ),
    Mutant(
        "float32 images",
        "precision",
        "block.normed(step.layout.images.tokens)",
        "step.layout.images.tokens.float()",
    ),
    Mutant("float32 result", "precision", CROSS, f"{CROSS}.to(torch.float32)"),
    Mutant("float32 constant", "precision", CROSS, f"({CROSS} + torch.zeros(1, dtype=torch.float32))"),
    Mutant(
        "huge number",
        "precision",
        *after(LAYER, "x_rd = x_rd + 1e300 * 0 * x_rd if x_rd.dtype == torch.float64 else x_rd * 1e30"),
    ),
    Mutant("frames changed in place", "inputs", "parts = span.tokens.", "parts = span.tokens.mul_(0.5)."),
    Mutant("weights changed in place", "inputs", *after(BEGIN, "step.decoder.embed.weight.data.mul_(0.999)")),
    Mutant("a counter on self", "hidden_state", *after(BEGIN, 'self.calls = getattr(self, "calls", 0) + 1')),
    Mutant("images on self", "hidden_state", *after(BEGIN, 'vars(self)["last"] = step.layout.images')),
    Mutant(
        "images in a global",
        "hidden_state",
        *after(LAYER, "x_rd = x_rd * (1 + 0.1 * len(IMAGES_SEEN)); IMAGES_SEEN.append(i)"),
    ),
    Mutant("no chunk without rows", "short_streams", *after(BEGIN, "assert len(step.layout.rows)")),
    Mutant("rows see the next row", "causality", *after(LAYER, "x_rd = x_rd + 0.1 * h_rd.roll(-1, 0)")),
    Mutant(
        "later frames are seen",
        "causality",
        *after(BLOCKS, "blocks = [replace(b, keys=np.arange(len(keys))) for b in blocks]"),
    ),
    Mutant(
        "0 / 0 before the first image",
        "text_before_images",
        *after(
            LAYER,
            "seen = torch.from_numpy(step.layout.rows.frame[:, None] >= 0).to(x_rd); x_rd *= seen / seen",
        ),
    ),
    Mutant(
        "text sees the size of the next frame",
        "causality",
        *after(LAYER, "x_rd = x_rd + 0.01 * len(step.layout.images)"),
    ),
    Mutant("images count for nothing", "text_after_images", CROSS, f"(0.0 * {CROSS})"),
    Mutant(
        "infinite after a frame",
        "finite",
        *after(LAYER, "x_rd = x_rd / torch.from_numpy(step.layout.rows.frame[:, None] != 0)"),
    ),
    Mutant("rows see the first row", "batch", *after(LAYER, "x_rd = x_rd + 0.1 * x_rd[:1]")),
    Mutant(
        "samples are not told apart",
        "batch",
        *after(BLOCKS, "blocks = [replace(b, keys=np.arange(b.keys.max(initial=-1) + 1)) for b in blocks]"),
    ),
    Mutant(
        "branches see each other",
        "branches",
        *after(
            BEGIN,
            "step.layout = replace(step.layout, rows=replace(step.layout.rows, "
            "branch=0 * step.layout.rows.branch))",
        ),
    ),
    Mutant(
        "images are not kept",
        "streaming",
        "kept(step, IMAGES, i, attention.keys(y_md, None), attention.values(y_md))",
        "attention.keys(y_md, None), attention.values(y_md)",
    ),
    Mutant(
        "no buffer in the state",
        "streaming",
        "KeyValues(self.layers), extra={IMAGES: KeyValues(self.layers)}",
        "KeyValues(self.layers)",
    ),
    Mutant(
        "images dropped too early",
        "streaming",
        FINISH,
        "        if step.state:\n            step.state.extra[IMAGES] = KeyValues(self.layers)\n",
    ),
    Mutant(
        "positions restart",
        "streaming",
        "lay_out(pooled, cursors,",
        "lay_out(pooled, [replace(c, position=0) for c in cursors],",
    ),
    Mutant("forks share buffers", "forks", "return FusionState(", "return SharedState("),
    Mutant(
        "a view is kept",
        "state_bytes",
        "attention.keys(y_md, None), ",
        "torch.cat(2 * [attention.keys(y_md, None)])[: len(y_md)], ",
    ),
    Mutant("frames are never dropped", "frames_freed", FINISH, "        pass\n"),
    Mutant(
        "a window more than declared", "declared_state", FINISH, FINISH.replace("IMAGES", "IMAGES, span=2")
    ),
    Mutant(
        "10 % more text than declared",
        "declared_state",
        "Kept(text=per_row * seen.text,",
        "Kept(text=per_row * seen.text * 10 // 11,",
    ),
    Mutant(
        "not prompt dependent",
        "prompt_dependence",
        "    Config = ExampleMethodConfig\n",
        "    Config = ExampleMethodConfig\n    prompt_dependent = True\n",
    ),
    Mutant(
        "a key twice",
        "reference",
        *after(BLOCKS, "blocks = [replace(b, keys=np.append(b.keys, b.keys[:1])) for b in blocks]"),
    ),
    Mutant("an unused parameter", "gradients", *after(INIT, "self.unused = nn.Parameter(torch.ones(3))")),
    Mutant("a detached branch", "gradients", CROSS, f"{CROSS}.detach()"),
    Mutant(
        "a constant that is not saved",
        "save_and_load",
        *after(INIT, 'vars(self)["shift"] = torch.randn(decoder.width)'),
    ),
]
NAMES = list(PROPERTIES)
HELPERS = """
import numpy as np

IMAGES_SEEN: list[int] = []


class SharedState(FusionState):
    def fork(self):
        return self
"""


@contextmanager
def loaded(source: str) -> Iterator[type[FusionMethod]]:
    """The method of a source text, registered for the time being."""
    known = list(registry.methods)
    module = ModuleType(f"mutant_{next(_numbers)}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__name__, "exec"), vars(module))
        yield vars(module)["ExampleMethod"]
    finally:
        registry.methods.keep(known)
        del sys.modules[module.__name__]


def source_of(mutant: Mutant) -> str:
    assert FUSION.count(mutant.old) == 1
    source = FUSION.replace(mutant.old, mutant.new)
    if mutant.property == "save_and_load":
        source = source.replace(LAYER, LAYER + '        x_rd = x_rd + vars(self)["shift"].to(x_rd)\n')
    return source + HELPERS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_is_caught_under_the_name_of_its_property(mutant: Mutant) -> None:
    with loaded(source_of(mutant)) as method, pytest.raises(PropertyError) as caught:
        check_fusion_method(
            method, properties=NAMES[: NAMES.index(mutant.property) + 1], backbones=["qwen3"], streams=2
        )
    assert caught.value.property == mutant.property, str(caught.value)


def test_frames_that_are_never_dropped_are_not_what_is_declared() -> None:
    """Also where streaming memory is declared to grow, so that no other property asks for it."""
    source = FUSION.replace(FINISH, "        pass\n").replace("streaming_frames=0", "streaming_frames=1")
    with loaded(source) as method, pytest.raises(PropertyError) as caught:
        check_fusion_method(method, streams=2)
    assert (caught.value.property, caught.value.also) == ("declared_state", ())
    assert caught.value.plan == "1: t1 f3 f3 f3 t3"
    assert "bytes of image_kv are kept where" in caught.value.found
    assert "one chunk, 4 text tokens, 3 frames of 3" in caught.value.found


def test_every_property_has_a_mutant() -> None:
    assert {mutant.property for mutant in MUTANTS} == PROPERTIES.keys()


def test_the_unchanged_method_passes() -> None:
    with loaded(FUSION) as method:
        checked = check_fusion_method(method)
    assert set(checked) == PROPERTIES.keys() - {"prompt_dependence"}
