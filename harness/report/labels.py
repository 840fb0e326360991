"""What tables and plots call a method, a published model and a size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from harness import registry
from harness.plan import MethodKey, method_label
from harness.published_models import METHOD
from harness.records import Record
from harness.settings import build_config, config_json
from harness.spec import NamedSpec


def canonical(value: object) -> str:
    """The value as JSON that equal values share."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


Defaults = Mapping[str, Mapping[str, object]]
"""Method to its default config as JSON values."""


def default_configs(methods: Iterable[str]) -> dict[str, dict[str, object]]:
    """The default configs of those methods that are registered here, as JSON values."""
    registry.discover()
    known = {name: registry.methods.get(name).Config for name in methods if name in registry.methods}
    return {name: config_json(build_config(config, {}, name)) for name, config in known.items()}


def method_labels(keys: Sequence[MethodKey], defaults: Defaults = MappingProxyType({})) -> list[str]:
    """One label per key.

    Where the method's defaults are known, its name as on the command line: alone or with the fields that were
    set. Else the name alone where a method has one config, or with the fields that differ. A published model
    is called by its checkpoint.
    """
    configs: dict[str, list[dict[str, object]]] = {}
    for key in keys:
        seen = configs.setdefault(key.method, [])
        if key.method_config not in seen:
            seen.append(key.method_config)
    return [
        method_label(key)
        if key.method == METHOD
        else _as_set(key, defaults[key.method])
        if key.method in defaults
        else _as_differing(key, configs[key.method])
        for key in keys
    ]


def cell_labels(records: Sequence[Record], defaults: Defaults) -> list[str]:
    """One label per record; published models that share a name are told apart by their backbones."""
    keys = [record.key for record in records]
    labels = method_labels(keys, defaults)
    backbones: dict[str, set[str]] = {}
    for key, label in zip(keys, labels, strict=True):
        if key.method == METHOD:
            backbones.setdefault(label, set()).add(key.backbone)
    return [
        f"{label} on {key.backbone}" if len(backbones.get(label, ())) > 1 else label
        for key, label in zip(keys, labels, strict=True)
    ]


def _as_set(key: MethodKey, default: Mapping[str, object]) -> str:
    changed = {field: value for field, value in key.method_config.items() if value != default.get(field)}
    return str(NamedSpec(key.method, changed))


def _as_differing(key: MethodKey, configs: Sequence[Mapping[str, object]]) -> str:
    fields = {field for config in configs for field in config}
    differing = sorted(field for field in fields if len({canonical(c.get(field)) for c in configs}) > 1)
    values = ", ".join(f"{field}={_plain(key.method_config.get(field))}" for field in differing)
    return f"{key.method} [{values}]" if values else key.method


def _plain(value: object) -> str:
    return value if isinstance(value, str) else canonical(value)


def resolution_label(height: int, width: int) -> str:
    """The side where both are equal, else height times width."""
    return str(height) if height == width else f"{height}x{width}"
