"""Block attention: the one entry through which every method attends.

A pattern is a list of *blocks*: some query rows against some key rows, causal or not. A window of CASA, a
whole sequence, a question that branches off a shared prefix: each is one block, so nothing ever needs a
dense mask over all rows and no padding is computed.

Shapes: T query rows, S key rows, H heads, K key/value heads, D head width.
"""

from harness.attention.builds import BUILDS, Build, kernels_of
from harness.attention.pattern import Block, Index, Pattern, to_device
from harness.attention.record import recording
from harness.attention.reference import attend_reference
from harness.attention.routes import ROUTES, Route, attend, using

__all__ = [
    "BUILDS",
    "ROUTES",
    "Block",
    "Build",
    "Index",
    "Pattern",
    "Route",
    "attend",
    "attend_reference",
    "kernels_of",
    "recording",
    "to_device",
    "using",
]
