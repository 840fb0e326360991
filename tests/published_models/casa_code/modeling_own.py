"""The model of the tiny CASA checkpoint: h = x + SA_text(norm x) + CA(norm x), then an MLP.

A window begins with the tokens before an image; the image is seen from its place on. While it streams, each
cross-attention keeps the keys and values of its window in an object of its own.

Shapes: T rows, K keys, d width, H heads, e width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_own import OwnConfig


@dataclass
class Held:
    """Keys and values [H, K, e] of the present window: its image's and its text's."""

    image: tuple[Tensor, Tensor] | None = None
    text: tuple[Tensor, Tensor] | None = None


class Layout:
    """Which window a row is in and where images come; window 0 is what came before, or nothing."""

    def __init__(self, rows: int, points: list[int], before: int) -> None:
        self.points = points
        row = torch.arange(rows)
        starts = torch.tensor([point - before for point in points], dtype=torch.long)
        self.window = (row[:, None] >= starts[None]).sum(dim=1)
        self.last = len(points)

    def sees_image(self, number: int) -> Tensor:
        """Rows [T] that see the image of a window."""
        rows = torch.arange(len(self.window))
        begun = rows >= (self.points[number - 1] if number else 0)
        return (self.window == number) & begun

    def sees_text(self) -> Tensor:
        """Which rows of the pass [T, T] a row sees in the cross-attention."""
        causal = torch.ones(len(self.window), len(self.window)).tril().bool()
        return causal & (self.window[:, None] == self.window[None])


class Attention(nn.Module):
    def __init__(self, config: OwnConfig) -> None:
        super().__init__()
        d, self.heads = config.hidden_size, config.num_attention_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))

    def split(self, x_td: Tensor) -> Tensor:
        return x_td.view(len(x_td), self.heads, -1).transpose(0, 1)

    def pair(self, x_td: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k(x_td)), self.split(self.v(x_td))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        """[T, d]; a row that sees nothing gets exactly nothing."""
        seen = visible.any(dim=1)
        mask = visible | ~seen[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.device))
        mixed: Tensor = self.o(out.transpose(0, 1).reshape(q.shape[1], -1))
        return mixed * seen.to(mixed)[:, None]


class SelfAttention(Attention):
    def __init__(self, config: OwnConfig, index: int) -> None:
        super().__init__(config)
        self.index = index

    def forward(self, x_td: Tensor, positions: Tensor, cache: Any) -> Tensor:
        q, (k, v) = self.split(self.q(x_td)), self.pair(x_td)
        q, k = (rotated(part, positions) for part in (q, k))
        if cache is not None:
            k, v = (kept[0] for kept in cache.update(k[None], v[None], self.index))
        keys = k.shape[1]
        visible = torch.ones(len(x_td), keys).tril(keys - len(x_td)).bool()
        return self.mix(q, k, v, visible)


class CrossAttention(Attention):
    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.window_text = config.window_text
        self._held: Held | None = None

    def forward(self, x_td: Tensor, images: list[Tensor], layout: Layout) -> Tensor:
        held = self._held or Held()
        per_window = [held.image, *(self.pair(image.to(x_td)) for image in images)]
        keys, values, visible = [], [], []
        for number, pair in enumerate(per_window):
            if pair is not None:
                keys.append(pair[0])
                values.append(pair[1])
                visible.append(layout.sees_image(number)[:, None].expand(-1, pair[0].shape[1]))
        own = self.pair(x_td)
        if self.window_text:
            if held.text is not None:
                keys.append(held.text[0])
                values.append(held.text[1])
                visible.append((layout.window == 0)[:, None].expand(-1, held.text[0].shape[1]))
            keys.append(own[0])
            values.append(own[1])
            visible.append(layout.sees_text())
        if self._held is not None:
            self._hold(per_window[layout.last], own, layout)
        if not keys:
            return torch.zeros_like(x_td)
        q = self.split(self.q(x_td))
        return self.mix(q, torch.cat(keys, dim=1), torch.cat(values, dim=1), torch.cat(visible, dim=1))

    def _hold(self, image: tuple[Tensor, Tensor] | None, own: tuple[Tensor, Tensor], layout: Layout) -> None:
        assert self._held is not None
        self._held.image = image
        if self.window_text:
            inside = (layout.window == layout.last).to(own[0].device)
            new = [part[:, inside] for part in own]
            if layout.last == 0 and self._held.text is not None:
                new = [torch.cat((old, part), dim=1) for old, part in zip(self._held.text, new, strict=True)]
            self._held.text = new[0], new[1]


class Block(nn.Module):
    def __init__(self, config: OwnConfig, index: int) -> None:
        super().__init__()
        d = config.hidden_size
        self.norm, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.self_attention, self.cross_attention = SelfAttention(config, index), CrossAttention(config)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(
        self, x: Tensor, positions: Tensor, cache: Any, images: list[Tensor], layout: Layout
    ) -> Tensor:
        n = self.norm(x)
        x = x + self.self_attention(n, positions, cache) + self.cross_attention(n, images, layout)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class ImagePrefix(nn.Module):
    """Patches [h, w, 588] of each image → features [h w / 4, d], four patches to a feature."""

    def __init__(self, config: OwnConfig) -> None:
        super().__init__()
        self.visual = nn.Linear(588, config.hidden_size)
        self.mix = nn.Linear(4 * config.hidden_size, config.hidden_size)

    def forward(self, images: list[Tensor]) -> dict[str, Any]:
        out = []
        for image in images:
            seen = self.visual(image)
            h, w, d = seen.shape
            merged = seen.view(h // 2, 2, w // 2, 2, d).transpose(1, 2).reshape(-1, 4 * d)
            out.append(self.mix(F.gelu(merged)))
        grid = torch.tensor([[1, *image.shape[:2]] for image in images])
        return {"image_embeds": out, "grid_thw": grid}


class OwnModel(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    config_class = OwnConfig
    _supports_sdpa = True

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.image_prefix = ImagePrefix(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.4)

    def start_ca_streaming_states(self) -> None:
        for layer in self.cross_attentions():
            layer._held = Held()

    def reset_ca_streaming_states(self) -> None:
        for layer in self.cross_attentions():
            layer._held = None

    def cross_attentions(self) -> list[CrossAttention]:
        return [module for module in self.modules() if isinstance(module, CrossAttention)]

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: list[Tensor] | None = None,
        past_key_values: DynamicCache | None = None,
        use_cache: bool = False,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        image_embeds_insertion_points: list[Tensor] | None = None,
        pre_image_tokens: list[int] | None = None,
        post_image_tokens: list[int] | None = None,
        **more: Any,
    ) -> CausalLMOutputWithPast:
        rows = input_ids.shape[1]
        if position_ids is None:
            position_ids = torch.arange(rows)[None]
        images = [] if pixel_values is None else self.image_prefix(pixel_values)["image_embeds"]
        places = image_embeds_insertion_points
        points = [] if not images or places is None else [int(point) for point in places[0].flatten()]
        assert len(points) == len(images)
        assert more.get("__is_first_gen_call__", True) or not images
        layout = Layout(rows, points, len(pre_image_tokens or ()))
        x = self.embed(input_ids[0])
        for block in self.blocks:
            cache = past_key_values if use_cache else None
            x = block(x, position_ids.reshape(-1, rows)[0], cache, images, layout)
        logits: Any = self.lm_head(self.norm(x))[None]
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    def generate_from_image(self, input_ids: Tensor, max_new_tokens: int = 8, **inputs: Any) -> Tensor:
        """Greedy decoding, each token from a pass over everything before it."""
        inputs.pop("attention_mask", None)
        for _ in range(max_new_tokens):
            logits = self(input_ids, pre_image_tokens=self.config.pre_image_tokens, **inputs).logits
            input_ids = torch.cat((input_ids, logits[:, -1:].argmax(dim=-1)), dim=1)
        return input_ids


def rotated(x_hte: Tensor, positions_t: Tensor) -> Tensor:
    """Rotary position embedding of halves."""
    half = x_hte.shape[-1] // 2
    speed = 100.0 ** -(torch.arange(half, device=x_hte.device) / half)
    angle = positions_t.to(x_hte.device)[:, None] * speed
    cos, sin = angle.cos().to(x_hte), angle.sin().to(x_hte)
    first, second = x_hte[..., :half], x_hte[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
