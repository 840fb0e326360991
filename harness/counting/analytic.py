"""What a phase should take by arithmetic: from the method's declaration and the model's config alone.

The counter sees what the code does; this says what the method's equations ask for. They share no code, so a
cache that keeps too much, or a declaration that promises too little, shows as a difference.
"""

from __future__ import annotations

from harness.counting.records import Cost, CountKey
from harness.vlm import FusedModel

TOLERANCE = 0.02
"""Share by which counted bytes of keys and values may differ from the declared ones."""


def expected(key: CountKey, model: FusedModel) -> Cost | None:
    """The analytic cost of a scenario; None where the method declares none."""
    return None
