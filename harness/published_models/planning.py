"""What the plan of a run needs to know of a published checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from harness.published_models import METHOD
from harness.published_models.source import Checkpoint, digest_of, locate
from harness.spec import EvalSpec


@dataclass(frozen=True)
class PublishedPlan:
    """A checkpoint, whether its weights are replaced by random ones, and the seeds asked for."""

    checkpoint: Checkpoint
    random: bool
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, name: str, spec: EvalSpec) -> PublishedPlan:
        """Find, and where needed download, a checkpoint; raises as :func:`locate` does."""
        random = spec.weights == "random"
        found = locate(name, weights=not random, trust_remote_code=spec.trust_remote_code)
        return cls(found, random, spec.seeds)

    @cached_property
    def digest(self) -> str:
        """What ``CellKey.weights`` says."""
        return "random" if self.random else digest_of(self.checkpoint.folder)

    def why_not(self, method: str, seed: int) -> str | None:
        """Why a method with a seed is not measured on this checkpoint, or None."""
        name = self.checkpoint.name
        if method != METHOD:
            return (
                f"{name} is a whole vision-language model and runs with its own fusion; leave out --methods, "
                f"or put {method} on a decoder's checkpoint with `harness graft`"
            )
        if not self.random and seed != self.seeds[0]:
            return f"{name} has one set of weights, measured as seed {self.seeds[0]}; give one --seed"
        return None
