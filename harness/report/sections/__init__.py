"""The parts of a report, each a function from evidence to a section of the document."""
