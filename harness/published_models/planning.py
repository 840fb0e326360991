"""What the plan of a run needs to know of a published checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.published_models import METHOD
from harness.published_models.source import Checkpoint, digest_of, locate
from harness.spec import EvalSpec, MethodSpec

NOT_HERE = (
    f"{METHOD} is a checkpoint's own fusion, and {{backbone}} is no published vision-language checkpoint; give "
    "--backbone hub:ORG/NAME or its folder"
)


@dataclass(frozen=True)
class PublishedPlan:
    """A checkpoint and the policy for its weights."""

    checkpoint: Checkpoint
    random: bool

    @classmethod
    def of(cls, spec: EvalSpec) -> PublishedPlan:
        random = spec.weights == "random"
        found = locate(spec.backbone, weights=not random, trust_remote_code=spec.trust_remote_code)
        return cls(found, random)

    @cached_property
    def digest(self) -> str:
        return "random" if self.random else digest_of(self.checkpoint.folder)

    def why_not(self, method: str, seed: int, seeds: Sequence[int]) -> str | None:
        """Why a method with a seed is not measured on this checkpoint, or None."""
        name = self.checkpoint.name
        if method != METHOD:
            return (
                f"{name} is a whole vision-language model and runs with its own fusion only; leave out "
                f"--methods, or put {method} on a decoder of the same size with `harness graft`"
            )
        if not self.random and seed != seeds[0]:
            return f"{name} has one set of weights, measured as seed {seeds[0]}; give one --seed"
        return None


def default_methods() -> tuple[MethodSpec, ...]:
    return (MethodSpec(METHOD),)
