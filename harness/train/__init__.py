"""Training of the shipped vision encoder and of reference models: same data order and budget for every
method."""
