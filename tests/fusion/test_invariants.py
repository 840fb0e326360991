"""Every registered method has every property of :mod:`harness.testing`."""

from __future__ import annotations

import pytest

from harness.testing import BACKBONES, PROPERTIES, check_fusion_method

from .conftest import all_variants, variant_id

STREAMS = 4
VARIANTS = all_variants()
CASES = [
    (variant, backbone)
    for place, variant in enumerate(VARIANTS)
    for at, backbone in enumerate(BACKBONES)
    if not variant[1] or place % len(BACKBONES) == at
]
"""Every method on every backbone by its defaults, and on one of them in turn with each of its settings."""


def test_every_variant_is_checked() -> None:
    assert {variant_id(variant) for variant, _ in CASES} == {variant_id(variant) for variant in VARIANTS}
    assert {backbone for (_, settings), backbone in CASES if settings} == set(BACKBONES)


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize(
    ("variant", "backbone"), CASES, ids=[f"{variant_id(variant)}-{backbone}" for variant, backbone in CASES]
)
def test_method_has_property(variant: tuple[str, dict[str, object]], backbone: str, name: str) -> None:
    method, settings = variant
    checked = check_fusion_method(method, settings, properties=[name], backbones=[backbone], streams=STREAMS)
    if not checked:
        pytest.skip("does not apply to this method")
