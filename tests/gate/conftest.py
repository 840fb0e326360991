"""A configuration and a baseline in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry

from .synthetic import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    registry.discover()
    made = World(tmp_path)
    made.write()
    return made


@pytest.fixture
def green(world: World) -> World:
    """The same with a baseline of what it counts."""
    assert world.check(update=True).exit_code == 0
    world.counted = 0
    return world
