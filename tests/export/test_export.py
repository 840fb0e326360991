"""Exports: typed, documented, the same whatever is missing, and asked with real SQL."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.errors import NothingMeasuredError, UsageError
from harness.export import TABLES, Selection, export_table, write_table
from harness.export.columns import CELLS, document
from harness.export.write import to_csv
from harness.records import Failed, Inputs, PluginFile, Record, Skipped
from harness.report.frame import CELL_COLUMNS
from harness.store import Store
from harness.timing.store import open_timings, write_timing
from tests.report import synthetic as s
from tests.timing import made as timing

ROOT = Path(__file__).parents[2]
COUNTED = ROOT / "tests" / "store" / "corpus" / "counted_v1"


def folder_of(table: str, run: Path) -> Path:
    """The run that has rows of a table; cells, kinds, points and answers are of one."""
    return {"counted": COUNTED, "timings": run / "timed", "ratios": run / "timed"}.get(table, run)


def write(folder: Path, records: list[Record]) -> Path:
    store = Store(folder).open()
    for one in records:
        store.write(one, s.samples(one))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write(tmp_path_factory.mktemp("run"), s.run(frames=(1, 16), resolutions=(64,), seeds=(0, 1)))
    open_timings(made / "timed")
    for frames in (1, 4):
        times = {"casa": timing.around(3), "vanilla_ca": timing.around(frames), "casa #2": timing.around(3)}
        write_timing(made / "timed", timing.record(times, frames))
    write_timing(made / "timed", timing.record({"casa": [2.0], "mllama": timing.FAILED}, 8, rounds=1))
    return made


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every table as Parquet, CSV and JSON lines."""
    folder = tmp_path_factory.mktemp("files")
    for table in TABLES:
        made = export_table([folder_of(table, run)], table)
        assert made.problems == ()
        for suffix in ("parquet", "csv", "jsonl"):
            write_table(made, folder / f"{table}.{suffix}")
    return folder


def select(files: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, in which ``cells`` and the other tables stand for their Parquet files."""
    with duckdb.connect() as connection:
        for table in TABLES:
            path = str(files / f"{table}.parquet")
            connection.execute(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
        return connection.execute(query).fetchall()


def test_sql_groups_cells_by_method(files: Path) -> None:
    rows = select(
        files,
        """SELECT method_name, frames, count(*), avg(accuracy), max(peak_bytes) FROM cells
        WHERE outcome = 'ok' GROUP BY ALL ORDER BY ALL""",
    )
    assert [row[:3] for row in rows] == [
        ("casa", 1, 2),
        ("casa", 16, 2),
        ("token_insertion", 1, 2),
        ("vanilla_ca", 1, 2),
        ("vanilla_ca", 16, 2),
    ]
    assert all(0 < row[3] <= 1 and isinstance(row[4], int) for row in rows)


def test_sql_joins_answers_with_their_cells(files: Path) -> None:
    rows = select(
        files,
        """SELECT cells.digest, any_value(cells.questions), count(*), avg(answers.value),
        count(DISTINCT clip), any_value(cells.clips) FROM cells JOIN answers
        USING (run, digest) GROUP BY cells.digest""",
    )
    assert len(rows) == 10
    for _, questions, answered, mean, clips, counted in rows:
        assert (questions, clips) == (answered, counted)
        assert 0 <= mean <= 1
    ((kind_rows,),) = select(files, "SELECT count(*) FROM kinds SEMI JOIN cells USING (digest)")
    assert (kind_rows,) == select(files, "SELECT count(*) FROM kinds")[0]


def test_the_documented_query_runs(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "export.md").read_text()
    query = text.partition("```sql\n")[2].partition("```")[0]
    monkeypatch.chdir(files)
    rows = select(files, query)
    assert {(method, kind) for method, kind, _ in rows} >= {("vanilla_ca", "motion")}


def test_sql_finds_no_data_as_null(files: Path) -> None:
    assert select(files, "SELECT DISTINCT outcome FROM cells WHERE accuracy IS NULL") == [("failed",)]
    assert select(files, "SELECT count(*) FROM cells WHERE accuracy = 0 OR peak_bytes = 0") == [(0,)]
    assert select(files, "SELECT count(*) FROM cells WHERE env_gpu IS NULL AND plugins IS NULL") == [(12,)]
    assert select(files, "SELECT message FROM counted WHERE peak_bytes IS NULL")[0][0].startswith(
        "RuntimeError"
    )


def test_sql_reaches_the_records_behind_a_point(files: Path, run: Path) -> None:
    rows = select(
        files,
        """SELECT unnest(string_split(digests, ',')) FROM points
        WHERE method_name = 'casa' AND frames = 16""",
    )
    assert len(rows) == 2
    assert all((run / "records" / f"{digest}.json").is_file() for (digest,) in rows)


def test_kinds_of_memory_at_the_peak_add_up(files: Path) -> None:
    columns = [name for (name, *_) in select(files, "DESCRIBE counted") if name.startswith("at_peak_")]
    total = " + ".join(f"coalesce({name}, 0)" for name in columns)
    rows = select(files, f"SELECT peak_bytes, {total} FROM counted WHERE outcome = 'ok'")
    assert len(rows) == 2
    assert all(peak == parts for peak, parts in rows)


@pytest.mark.parametrize("table", TABLES)
def test_every_form_holds_the_same_and_says_what_columns_mean(files: Path, table: str) -> None:
    schema = pq.read_schema(files / f"{table}.parquet")
    described = {field.name: field.metadata[b"description"].decode() for field in schema}
    fixed = {name: column.description for name, column in TABLES[table].items()}
    assert described | fixed == described
    assert schema.metadata[b"table"].decode() == table
    frame = pd.read_parquet(files / f"{table}.parquet")
    lines = (files / f"{table}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    plain = frame.astype(object)
    assert rows == plain.where(frame.notna(), None).to_dict("records")
    with (files / f"{table}.csv").open(newline="") as file:
        header, *records = csv.reader(file)
    assert header == list(frame.columns)
    assert len(records) == len(rows) == len(frame) > 0


def test_types_do_not_depend_on_the_data(run: Path, tmp_path: Path) -> None:
    only_failed = write(
        tmp_path, [s.record(s.key(), s.failed()), s.record(s.key(seed=1), Skipped(reason="no"))]
    )
    full, empty = export_table([run]).frame, export_table([only_failed]).frame
    assert empty["accuracy"].isna().all()
    for name, column in CELLS.items():
        assert str(full[name].dtype) == str(empty[name].dtype) == column.dtype


def test_whole_numbers_stay_exact(tmp_path: Path) -> None:
    large = 2**60 + 1
    key = s.key()
    measures = s.measures(key, prefill_flops=large)
    records = [
        s.record(key, outcome=s.record(key).outcome.model_copy(update={"measures": measures})),
        s.record(s.key(seed=1), s.failed()),
    ]
    write_table(export_table([write(tmp_path / "run", records)]), tmp_path / "a.parquet")
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT prefill_flops FROM '{tmp_path / 'a.parquet'}' ORDER BY seed"
        ).fetchall()
    assert rows == [(large,), (None,)]


def test_inputs_and_their_hashes_are_columns(tmp_path: Path) -> None:
    inputs = Inputs(
        plugins=(PluginFile(path="mine.py", sha256="0" * 16), PluginFile(path="gone.py", sha256=None)),
        models=("models",),
        backbone=None,
        timeout_s=1.0,
    )
    record = s.record(s.key()).model_copy(update={"inputs": inputs})
    frame = export_table([write(tmp_path, [record])]).frame
    assert frame["plugins"].tolist() == [f"mine.py@{'0' * 16}, gone.py@unknown"]
    assert frame["model_folders"].tolist() == ["models"]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 12),
        ({"task": ["videoqa"]}, 12),
        ({"method": ["casa,vanilla_ca"]}, 8),
        ({"method": ["casa"], "frames": ["16"], "seed": ["1"]}, 1),
        ({"frames": ["1", "16"], "resolution": ["64x64"]}, 12),
        ({"outcome": ["failed"]}, 2),
        ({"outcome": ["ok,failed"], "seed": ["0"]}, 6),
    ],
)
def test_selections_keep_what_they_name(run: Path, options: dict[str, list[str]], count: int) -> None:
    assert len(export_table([run], "cells", Selection.parse(options)).frame) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": ["videoq"]}, "unknown task 'videoq': did you mean 'videoqa'"),
        ({"method": ["cassa"]}, "unknown method 'cassa': did you mean 'casa'"),
        ({"frames": ["17"]}, "unknown frames 17: the records have 1, 16"),
        ({"frames": ["many"]}, "frames 'many' is not a whole number"),
        ({"resolution": ["65"]}, "unknown resolution '65': did you mean '64'"),
        ({"seed": ["4"]}, "unknown seed 4: the records have 0, 1"),
        ({"outcome": ["okay"]}, "unknown outcome 'okay': give one of ok, failed, skipped"),
        ({"task": [" "]}, "--task is empty"),
    ],
)
def test_values_that_no_record_has_are_explained(
    run: Path, options: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export_table([run], "cells", Selection.parse(options))


def test_a_method_is_called_as_in_the_whole_run(tmp_path: Path) -> None:
    """A selection must not rename what the report shows."""
    records = [s.record(s.key("mine", method_config={"size": size})) for size in (1, 2)]
    run = write(tmp_path, records)
    names = set(export_table([run]).frame["method"])
    assert len(names) == 2
    for name in names:
        frame = export_table([run], "kinds", Selection(method=(name,))).frame
        assert set(frame["method"]) == {name}
        assert frame["digest"].nunique() == 1


def test_nothing_left_is_no_table(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError, match=r"with --method token_insertion .*--outcome ok"):
        export_table([run], "cells", Selection(method=("token_insertion",), outcome=("ok",), frames=(16,)))
    with pytest.raises(NothingMeasuredError, match="nothing to export"):
        export_table([write(tmp_path, [])])
    failed = write(tmp_path / "failed", [s.record(s.key(), Failed(failure="crash", message="x"))])
    for table in ("kinds", "answers"):
        with pytest.raises(NothingMeasuredError, match=f"no row of {table}"):
            export_table([failed], table)


def test_options_without_a_column_do_not_apply() -> None:
    with pytest.raises(UsageError, match="--task does not apply: these rows have no task"):
        export_table([COUNTED], "counted", Selection(task=("videoqa",)))
    assert len(export_table([COUNTED], "counted", Selection(outcome=("ok",), frames=(2,))).frame) == 1


CONDITIONS: list[tuple[str, list[str], int]] = [
    ("cells", ["frames=16", "method=casa"], 2),
    ("cells", ["seed=0", "seed=1", "outcome=ok", "env_gpu="], 10),
    ("cells", ["failure=out_of_memory"], 2),
    ("cells", ["failure="], 10),
    ("kinds", ["kind=motion", "frames=16"], 4),
    ("points", ["models=2", "frames=16"], 2),
    ("answers", ["sample=clip0", "kind=motion", "seed=1", "frames=16", "method=casa"], 4),
    ("counted", ["outcome=ok", "frames=2"], 1),
    ("timings", ["phase=prefill", "method=casa #2"], 14),
    ("timings", ["ms=2"], 3),
    ("timings", ["phase="], 1),
    ("ratios", ["first=casa", "second=vanilla_ca", "phase=prefill"], 2),
]


@pytest.mark.parametrize(("table", "where", "count"), CONDITIONS)
def test_conditions_hold_for_any_column(run: Path, table: str, where: list[str], count: int) -> None:
    frame = export_table([folder_of(table, run)], table, Selection.parse({"where": where})).frame
    assert len(frame) == count


@pytest.mark.parametrize(
    ("table", "where", "message"),
    [
        ("cells", "framse=1", "unknown column 'framse': did you mean 'frames'"),
        ("points", "digest=0", "unknown column 'digest': did you mean 'digests'"),
        ("cells", "frames", "--where 'frames' is no condition; give COLUMN=VALUE"),
        ("cells", "frames=one", "frames 'one' is not a whole number"),
        ("cells", "accuracy=good", "accuracy 'good' is not a number"),
        ("cells", "env_dirty=maybe", "env_dirty 'maybe' is not true or false"),
        ("cells", "frames=", "frames has data in every row"),
        ("kinds", "kind=moton", "unknown kind 'moton': did you mean 'motion'"),
        ("counted", "mode=prefil", "unknown mode 'prefil': did you mean 'prefill'"),
        ("timings", "ms=0", "unknown ms 0.0: the records have 0.9.*, 2.0, .* and 2 more"),
    ],
)
def test_conditions_that_nothing_can_meet_are_explained(
    run: Path, table: str, where: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export_table([folder_of(table, run)], table, Selection.parse({"where": [where]}))


def test_ratios_are_those_of_the_rounds(files: Path) -> None:
    """By SQL: the median over rounds of one method's time divided by the other's."""
    rows = select(
        files,
        """SELECT median(one.ms / two.ms), any_value(ratio), any_value(ratios.rounds), count(*)
        FROM ratios JOIN timings one
        ON (ratios.digest, first, ratios.phase) = (one.digest, one.method, one.phase)
        JOIN timings two ON (two.digest, two.phase, two.round, two.method)
        = (one.digest, one.phase, one.round, second)
        GROUP BY ratios.digest, first, second, ratios.phase""",
    )
    assert len(rows) == 2 * 2 * 3 * 3, "two sizes, both orders, three pairs, three phases"
    for ratio, shown, rounds, count in rows:
        assert (shown, rounds) == (pytest.approx(ratio), count)


def test_the_number_of_clips_is_that_of_the_answers(tmp_path: Path) -> None:
    record = s.record(s.key())
    groups = ['"group":"a"', '"group":"a"', "b\\", "é"]
    answers = [
        one.model_copy(update={"group": group, "question": f'"group":"{index}"'})
        for index, (one, group) in enumerate(zip(s.samples(record), groups, strict=False))
    ]
    store = Store(tmp_path).open()
    store.write(record, answers)
    assert store.clips(record.key.digest) == 3 == len({one.group for one in answers})
    store.sidecar(record.key.digest).write_bytes(b"")
    with pytest.raises(ValueError, match="it is empty"):
        store.clips(record.key.digest)


def test_unknown_tables_and_folders_are_the_users_errors(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown table 'cell': did you mean 'cells'"):
        export_table([run], "cell")
    with pytest.raises(UsageError, match="holds no folder 'records'"):
        export_table([tmp_path])
    with pytest.raises(UsageError, match="holds no folder 'counted'"):
        export_table([run], "counted")
    with pytest.raises(UsageError, match="holds no folder 'timings'"):
        export_table([run], "ratios")
    with pytest.raises(UsageError, match="no run is given"):
        export_table([])


def test_several_runs_are_told_apart(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("other"), [s.record(s.key(frames=16))])
    frame = export_table([run, tmp_path / "other", Path("other")]).frame
    assert frame["run"].value_counts().to_dict() == {str(run): 12, "other": 1}
    points = export_table([run, Path("other")], "points").frame
    assert points.groupby("run").size().to_dict() == {str(run): 6, "other": 1}


def test_what_cannot_be_loaded_is_listed(tmp_path: Path) -> None:
    run = write(tmp_path, [s.record(s.key()), s.record(s.key(seed=1))])
    (run / "records" / "half.json").write_text("{")
    Store(run).sidecar(s.key().digest).write_bytes(b"no gzip")
    made = export_table([run], "answers")
    assert {problem.path.name for problem in made.problems} == {"half.json", f"{s.key().digest}.jsonl.gz"}
    assert set(made.frame["seed"]) == {1}


def test_csv_is_safe_in_a_spreadsheet_and_others_are_raw(tmp_path: Path) -> None:
    run = write(tmp_path, [s.record(s.key("=cmd()"), Failed(failure="crash", message="@x"))])
    made = export_table([run])
    (row,) = csv.DictReader(io.StringIO(to_csv(made).decode()))
    assert (row["method_name"], row["message"], row["accuracy"]) == ("'=cmd()", "'@x", "")
    write_table(made, tmp_path / "a.jsonl")
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["message"] == "@x"


def test_the_documented_columns_are_those_of_the_tables() -> None:
    """What belongs there is what ``document()`` returns."""
    text = (ROOT / "docs" / "export.md").read_text()
    assert document() in text
    assert list(CELLS) == ["run", *CELL_COLUMNS]
    assert all(column.description for columns in TABLES.values() for column in columns.values())
    assert not {name for columns in TABLES.values() for name in columns if not name.isidentifier()}
