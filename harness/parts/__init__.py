"""Modules that several fusion methods use."""
