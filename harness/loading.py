"""The model of a cell: fused here, or published with its own fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.published_models import METHOD

if TYPE_CHECKING:
    from harness.measure.subject import Subject
    from harness.plan import CellJob


def load_subject(job: CellJob) -> Subject:
    """Load or build what a cell measures, in evaluation mode. Raises UsageError for what does not fit."""
    key = job.key
    dtype: torch.dtype = getattr(torch, key.dtype)
    if key.method == METHOD:
        from harness.published_models.loading import load_published

        assert job.backbone_path is not None
        return load_published(
            job.backbone_path,
            key.weights,
            key.method_config,
            seed=None if job.weights_path is not None else key.seed,
            device=key.device,
            dtype=dtype,
            trust_remote_code=job.trust_remote_code,
        )
    from harness.models import build_model, load_model

    if job.weights_path is not None:
        return load_model(job.weights_path, device=key.device, dtype=dtype)
    backbone = key.backbone if job.backbone_path is None else str(job.backbone_path)
    return build_model(key.method, key.method_config, backbone, key.seed, device=key.device, dtype=dtype)
