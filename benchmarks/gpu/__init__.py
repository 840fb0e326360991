"""A device's allocator against the counter: measuring, records, comparison, summary."""
