"""Vision encoders: frame → [num_tokens, width]."""
