"""How lmms-eval finds the harness's models: the entry point ``fusion_harness`` of ``lmms_eval.models``."""

from __future__ import annotations

from typing import Any

from harness.lmms.leaf import MODEL_NAME


def manifest() -> Any:
    """lmms-eval's ``ModelManifest``; it imports the classes when the model is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id=MODEL_NAME,
        chat_class_path="harness.lmms.model.FusionHarness",
        simple_class_path="harness.lmms.model.FusionHarnessSimple",
    )
