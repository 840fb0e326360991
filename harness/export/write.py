"""An exported table as a Parquet, CSV or JSON-lines file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from harness.errors import UsageError
from harness.export.tables import Export
from harness.files import replace_file, writing_to
from harness.report.text import csv_cell


def write_table(export: Export, path: Path) -> None:
    """Put the file in place whole, in the form that its suffix says; what was there is replaced.

    Raises UsageError for another suffix and InfrastructureError where the file cannot be written.
    """
    content = form_of(path)(export)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)


def form_of(path: Path) -> Callable[[Export], bytes]:
    """What makes the content of such a file; raises UsageError for a suffix that says nothing."""
    try:
        return _FORMS[path.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"{str(path)!r} has no known form; end it in {', '.join(_FORMS)}, or give - for CSV on standard "
            "output"
        ) from None


def to_csv(export: Export) -> bytes:
    """CSV whose text no spreadsheet takes for a formula; no data is an empty field."""
    safe = export.frame.astype(object).map(csv_cell).rename(columns=lambda name: str(csv_cell(name)))
    buffer = io.StringIO()
    safe.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode()


def to_jsonl(export: Export) -> bytes:
    """One JSON object per line with every column; no data is null."""
    frame = export.frame.astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def to_parquet(export: Export) -> bytes:
    """Parquet; what a column means is the metadata ``description`` of its field."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[str, Any] = {
        "string": pa.string(),
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "boolean": pa.bool_(),
    }
    fields = [
        pa.field(name, types[str(export.frame[name].dtype)], metadata={"description": meaning})
        for name, meaning in export.descriptions.items()
    ]
    about = {"table": export.table, "harness": harness.__version__}
    table = pa.Table.from_pandas(export.frame, schema=pa.schema(fields), preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **about}), buffer)
    return buffer.getvalue()


_FORMS = {".parquet": to_parquet, ".csv": to_csv, ".jsonl": to_jsonl}
