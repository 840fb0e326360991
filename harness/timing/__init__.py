"""Interleaved timing: all methods of a size in one process, in rounds, so that ratios may be claimed."""
