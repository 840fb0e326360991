"""What is checked: a fusion method on a small random backbone."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn

from harness import registry
from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion import FusionConfig, FusionMethod, check_declaration
from harness.layout import Layout, PackedSample, Span
from harness.settings import build_config, changed, to_text
from harness.spec import MethodSpec
from harness.state import FusionState
from harness.testing.plans import VOCABULARY, WIDTH

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NOISE = 0.05
"""Added to every weight, so that gates and projections that start at zero take part."""


def _qwen3() -> PretrainedConfig:
    """Norms on queries and keys, two heads to each key/value head, tied embeddings."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        tie_word_embeddings=True,
    )


def _llama() -> PretrainedConfig:
    """No such norms, biases in the attention, a head of its own."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        attention_bias=True,
        tie_word_embeddings=False,
    )


BACKBONES: dict[str, Callable[[], PretrainedConfig]] = {"qwen3": _qwen3, "llama": _llama}
"""Backbones that methods are checked on."""


@functools.cache
def _decoder(config: Callable[[], PretrainedConfig], seed: int) -> tuple[Decoder, Tensor]:
    """A backbone with random weights, and the state of torch's generator after they were drawn: making one
    takes longer than most checks of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = Decoder(config())
        use_exact_norms(decoder)
        return decoder, torch.get_rng_state()


@dataclass(frozen=True, slots=True)
class Target:
    """A method and its settings, by class."""

    name: str
    cls: type[FusionMethod]
    config: FusionConfig

    @classmethod
    def of(cls, method: str | type[FusionMethod], settings: Mapping[str, object]) -> Self:
        """From a class, a registered name, or a name with settings as on the command line.

        Raises UsageError for unknown names and settings, and for a class that lacks what a method declares.
        """
        if isinstance(method, str):
            registry.discover()
            spec = MethodSpec.parse(method)
            found, settings = registry.methods.get(spec.name), {**spec.config, **settings}
        else:
            found = method
            check_declaration(getattr(method, "__name__", repr(method)), method)
        return cls(found.name, found, build_config(found.Config, settings, f"method {found.name!r}"))

    def __str__(self) -> str:
        settings = [f"{field}={to_text(value)}" for field, value in changed(self.config).items()]
        return self.name + (":" + "+".join(settings) if settings else "")

    def build(self, backbone: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> Subject:
        """The method on a backbone with random weights; raises UsageError for an unknown backbone."""
        if backbone not in BACKBONES:
            raise UsageError(f"unknown backbone {backbone!r} to check on; give one of {', '.join(BACKBONES)}")
        decoder, drawn = _decoder(BACKBONES[backbone], seed)
        decoder = copy.deepcopy(decoder)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(drawn)
            fusion = self.cls(self.config, decoder)
            with torch.no_grad():
                for parameter in dict.fromkeys((*decoder.parameters(), *fusion.parameters())):
                    parameter.add_(NOISE * torch.randn_like(parameter))
        return Subject(self, backbone, decoder.to(dtype).eval(), fusion.to(dtype).eval())


@dataclass(frozen=True, slots=True)
class Subject:
    """A method on one backbone."""

    target: Target
    backbone: str
    decoder: Decoder
    fusion: FusionMethod

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.embed.weight.dtype

    def run(self, samples: Sequence[PackedSample], state: FusionState | None = None) -> tuple[Tensor, Layout]:
        """Logits [R, V] of every row, and the layout."""
        h_rd, layout = self.fusion.run(samples, self.decoder, state)
        return self.decoder.logits(h_rd), layout

    def logits(self, spans: Sequence[Span], state: FusionState | None = None) -> Tensor:
        """Logits [R, V] of one stream, or of its next chunk."""
        return self.run([PackedSample(tuple(spans))], state)[0]

    def stream(self, spans: Sequence[Span], ends: Sequence[int]) -> tuple[Tensor, FusionState]:
        """Logits [R, V] of all rows when the spans arrive in chunks, and the state after them."""
        state = self.fusion.new_state()
        bounds = itertools.pairwise([0, *ends])
        outputs = [self.logits(spans[start:stop], state) for start, stop in bounds]
        return torch.cat(outputs or [self.logits(())]), state

    def again(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Subject:
        """The same method made afresh, by default with the same weights."""
        return self.target.build(self.backbone, seed, dtype)

    def modules(self) -> dict[str, nn.Module]:
        return {"decoder": self.decoder, "method": self.fusion}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter once, by name."""
        named: dict[str, nn.Parameter] = {}
        seen: set[int] = set()
        for place, module in self.modules().items():
            for name, parameter in module.named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    named[f"{place}.{name}"] = parameter
        return named


def use_exact_norms(module: nn.Module) -> None:
    """Replace RMS norms, which ``transformers`` always computes in float32, by torch's own,
    since a float64 comparison would otherwise see float32 rounding."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm") and not isinstance(child, nn.RMSNorm):
                weight = cast("nn.Parameter", child.weight)
                exact = nn.RMSNorm(len(weight), eps=float(cast("float", child.variance_epsilon)))
                exact.weight = weight
                setattr(parent, name, exact)
