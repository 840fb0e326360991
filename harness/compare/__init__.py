"""Two methods, or two runs of the same methods, place by place: who is better at what, and is it luck."""
