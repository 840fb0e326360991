"""The config of the tiny CASA checkpoint."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class OwnConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """``window_text``: the cross-attention also sees the text of its own window (equation 4), not images
    alone (equation 2)."""

    model_type = "CASA_Helium1_VL_tiny"

    def __init__(
        self,
        vocab_size: int = 64,
        hidden_size: int = 16,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 2,
        window_text: bool = False,
        pre_image_tokens: tuple[int, ...] = (),
        post_image_tokens: tuple[int, ...] = (),
        **more: Any,
    ) -> None:
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.window_text = window_text
        self.pre_image_tokens, self.post_image_tokens = list(pre_image_tokens), list(post_image_tokens)
        super().__init__(**more)
