"""Counted memory without a GPU: the peak of a phase, tensor by tensor, on the meta device or on a CPU."""
