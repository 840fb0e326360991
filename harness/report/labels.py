"""What methods are called in tables: as on the command line, where they are known here."""

from __future__ import annotations

from collections.abc import Iterable

from harness import registry
from harness.settings import build_config, config_json


def default_configs(methods: Iterable[str]) -> dict[str, dict[str, object]]:
    """The default configs of those methods that are registered here, as JSON values."""
    registry.discover()
    known = {name: registry.methods.get(name).Config for name in methods if name in registry.methods}
    return {name: config_json(build_config(config, {}, name)) for name, config in known.items()}
