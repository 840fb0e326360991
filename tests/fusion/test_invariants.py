"""Every registered method has every property of :mod:`harness.testing`."""

from __future__ import annotations

import pytest

from harness.testing import BACKBONES, PROPERTIES, check_fusion_method

from .conftest import all_variants, variant_id

STREAMS = 4


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("variant", all_variants(), ids=variant_id)
def test_method_has_property(variant: tuple[str, dict[str, object]], backbone: str, name: str) -> None:
    method, settings = variant
    checked = check_fusion_method(method, settings, properties=[name], backbones=[backbone], streams=STREAMS)
    if not checked:
        pytest.skip("does not apply to this method")
