"""Checks for fusion methods from outside: ``from harness.testing import check_fusion_method``.

They need neither a test framework nor trained weights, and take some seconds on a CPU.
"""

from harness.testing.check import STREAMS, check_fusion_method
from harness.testing.failures import PropertyError
from harness.testing.properties import PROPERTIES, Property
from harness.testing.subjects import BACKBONES

__all__ = ["BACKBONES", "PROPERTIES", "STREAMS", "Property", "PropertyError", "check_fusion_method"]
