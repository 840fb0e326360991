"""The text of a whole report, compared exactly with what is committed.

``HARNESS_UPDATE_GOLDEN=1 pytest tests/report/test_golden.py`` writes the files anew; read the difference
before committing it. Everything in them is made up: :mod:`tests.report.synthetic` knows no machine and no
commit.
"""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

import pytest

from harness.records import Skipped
from harness.report.build import CSV_FILES, TEXT_FILES
from harness.report.contents import document
from harness.report.evidence import gather
from harness.report.render.texts import texts
from harness.store import Store
from tests.report import synthetic as s

GOLDEN = Path(__file__).parent / "golden" / "document"
NAMES = ("report.md", "report.tex", "tables/videoqa_cost.tex", "tables/videoqa_cost.csv")


@functools.cache
def made() -> dict[str, bytes]:
    records = s.run(frames=(1, 4), resolutions=(64,), seeds=(0, 1))
    records.append(s.record(s.key("casa", frames=16), Skipped(reason="no trained weights for casa")))
    records.append(s.record(s.key("vanilla_ca", frames=16), env=s.environment(torch="2.11.0")))
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        store = Store(run).open()
        for record in records:
            store.write(record, s.samples(record))
        (run / "records" / "broken.json").write_text("{")
        return texts(document(gather(run), tuple((CSV_FILES | TEXT_FILES).items())))


@pytest.mark.parametrize("name", NAMES)
def test_the_report_reads_as_committed(name: str) -> None:
    path = GOLDEN / name
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made()[name])
    assert made()[name].decode() == path.read_text(encoding="utf-8")


def test_every_committed_file_is_compared() -> None:
    found = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()}
    assert found == set(NAMES)
