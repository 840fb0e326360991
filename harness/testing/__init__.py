"""Checks for fusion methods from outside: ``from harness.testing import check_fusion_method``, and
``assert_memory_order`` for how its memory grows.

They need neither a test framework nor trained weights, and take some seconds on a CPU.
"""

from harness.testing.check import STREAMS, check_fusion_method
from harness.testing.failures import PropertyError
from harness.testing.memory import assert_memory_order
from harness.testing.properties import PROPERTIES, Property
from harness.testing.subjects import BACKBONES

__all__ = [
    "BACKBONES",
    "PROPERTIES",
    "STREAMS",
    "Property",
    "PropertyError",
    "assert_memory_order",
    "check_fusion_method",
]
