"""Readable names of counted scenarios; the same in tables, messages and baselines."""

from __future__ import annotations

import contextlib

from harness import registry
from harness.counting.records import CountKey
from harness.errors import UsageError
from harness.plan import method_label
from harness.scaling import Growth
from harness.settings import build_config, changed
from harness.spec import MethodSpec


def cell_name(key: CountKey) -> str:
    """``casa · prefill · 8 frames · 64x64``, with what is not everywhere the same after it."""
    size = f"{_frames(key)} · {key.height}x{key.width}"
    return f"{method_label(key)} · {key.mode} · {size}" + _regime(key)


def growth_name(growth: Growth) -> str:
    """``casa · prefill · frames at 64x64``."""
    key = growth.key
    fixed = f"{key.height}x{key.width}" if growth.axis == "frames" else _frames(key)
    return f"{method_label(key)} · {key.mode} · {growth.axis} at {fixed}" + _regime(key)


def _frames(key: CountKey) -> str:
    return f"{key.frames} frame" + ("s" if key.frames > 1 else "")


def _regime(key: CountKey) -> str:
    return f" · {key.text_per_frame} text tokens per frame" if key.text_per_frame else ""


def canonical(text: str) -> str:
    """A method as the user names it, in the form of :func:`harness.plan.method_label`."""
    spec = MethodSpec.parse(text)
    if spec.name in registry.methods:
        with contextlib.suppress(UsageError):
            config = build_config(registry.methods.get(spec.name).Config, spec.config, spec.name)
            return str(MethodSpec(spec.name, changed(config)))
    return str(spec)
