"""Records as one typed, documented table: for DuckDB, pandas and spreadsheets."""

from harness.export.columns import TABLES
from harness.export.select import Selection
from harness.export.tables import Export, export_table
from harness.export.where import Where
from harness.export.write import write_table

__all__ = ["TABLES", "Export", "Selection", "Where", "export_table", "write_table"]
