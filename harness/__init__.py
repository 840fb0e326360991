"""Measure how vision-language models fuse images into a language model.

Importing this package is cheap: torch is imported by the modules that need it.
"""

__version__ = "0.1.0"
