"""Which ``--backbone`` means a published checkpoint; cheap, so that a command can ask it of any name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.backbones import is_folder
from harness.published_models.families import known_type

HUB = "hub:"


def is_published(name: str) -> bool:
    """Whether a name means a published vision-language checkpoint: the hub's, or a folder of one."""
    if name.startswith(HUB):
        return True
    if not is_folder(name):
        return False
    try:
        document = json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and (
        known_type(str(document.get("model_type"))) is not None
        or isinstance(document.get("vision_config"), dict)
        or _is_foreign(document)
    )


def _is_foreign(document: dict[str, Any]) -> bool:
    """Whether a folder's model is none that ``transformers`` has code for."""
    if not document.get("auto_map"):
        return False
    from transformers import CONFIG_MAPPING

    return document.get("model_type") not in CONFIG_MAPPING
