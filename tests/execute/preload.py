"""Imported by the tests' fork server: the light part of what a cell's process needs."""

from harness import environment

from . import fakes

__all__ = ["fakes"]

environment.source_commit()
