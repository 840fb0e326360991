"""Documents of older schema versions, lifted to the newest one step at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness import strictjson

M = TypeVar("M", bound=BaseModel)

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Lifts a document of one schema version to the next."""


class NewerSchemaError(ValueError):
    """A document of a schema version that only a newer harness knows."""


def lifted(text: str, newest: int, upgrades: Mapping[int, Upgrade]) -> str:
    """The document as JSON of the newest version; raises ValueError, NewerSchemaError for a newer one."""
    document = strictjson.loads(text)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("it has no schema version")
    if version > newest:
        raise NewerSchemaError(f"schema version {version} is newer than {newest}, the newest known here")
    if version == newest:
        return text
    while version < newest:
        document = upgrades[version](document)
        version += 1
    return json.dumps(document)


def parsed(model: type[M], text: str, newest: int, upgrades: Mapping[int, Upgrade]) -> M:
    """A document of any known version as ``model``; raises ValueError with one line."""
    try:
        return model.model_validate_json(lifted(text, newest, upgrades))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(" ".join(f"{where}: {first['msg']}".split())) from error
