"""Statistics: intervals for one method, tests between two."""
