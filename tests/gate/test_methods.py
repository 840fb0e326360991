"""Every registered method's memory over pixels has the order that it declares.

Over frames `harness check` holds it, with this repository's own configuration.
"""

from __future__ import annotations

import pytest

from harness import registry
from harness.counting.records import Mode
from harness.testing import assert_memory_order

registry.discover()


@pytest.mark.parametrize("mode", ["prefill", "stream"])
@pytest.mark.parametrize("method", list(registry.methods))
def test_peaks_over_pixels_have_the_declared_order(method: str, mode: Mode) -> None:
    assert_memory_order(method, mode=mode, axis="pixels", sizes=(128, 256, 512), frames=16)
