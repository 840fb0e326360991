"""A plugin of two methods into which a test plants one fault at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from harness.backbones.decoder import DecoderBlock
from harness.declared import Kept, Seen, Sizes
from harness.fusion import IMAGES, Step, describe_images, image_keys
from harness.fusion_impls.token_insertion import TokenInsertion
from harness.fusion_impls.vanilla_ca import VanillaCA
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import Keys, Visible, window_blocks


@register_method("mutant_ca")
class MutantCA(VanillaCA):
    """Cross-attention; ``square`` plants a buffer over all pairs of frames, ``frames`` keeps every image."""

    planted: ClassVar[str] = ""
    declares: ClassVar[bool] = False

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept | None:  # type: ignore[override]  # as if undeclared
        return super().keeps(seen, sizes) if self.declares else None

    def begin(self, step: Step) -> None:
        if self.planted == "frames":
            describe_images(step)
            keys = Keys(image_keys(step))
            step.carried[IMAGES] = step.layout.images.tokens
            step.patterns["window"] = step.pattern(
                window_blocks(step.layout.rows, keys, Visible()), len(keys)
            )
            return
        super().begin(step)
        if self.planted == "square":
            frames = step.layout.cursors[0].frame + 1
            step.carried["square"] = step.decoder.embed.weight.new_zeros(frames, frames, 256)


@register_method("mutant_insertion")
class MutantInsertion(TokenInsertion):
    """Token insertion; ``kv`` plants a tenth more rows of keys and values."""

    planted: ClassVar[str] = ""
    declares: ClassVar[bool] = False

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept | None:  # type: ignore[override]  # as if undeclared
        return super().keeps(seen, sizes) if self.declares else None

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={"spare": KeyValues(self.layers)})

    def begin(self, step: Step) -> None:
        super().begin(step)
        if step.state is not None and self.planted == "kv":
            none = np.zeros(self._spare(step), dtype=np.int64)
            step.state.extra["spare"].describe(none, none, none)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        output = super().layer(i, block, h_rd, step)
        if step.state is not None and self.planted == "kv":
            keys = step.state.text.keys[i]
            assert keys is not None
            spare = keys.new_zeros(self._spare(step), *keys.shape[1:])
            step.state.extra["spare"].extend(i, spare, spare.clone())
        return output

    def _spare(self, step: Step) -> int:
        return round(0.1 * len(step.layout.rows))
