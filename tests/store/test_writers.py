"""Several processes write to one store, some are killed: what is there is whole, and what is left goes."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.counting.store import FOLDER, write_counted
from harness.errors import InfrastructureError
from harness.files import ABANDONED_S, TEMPORARY, replace_file
from harness.records import Ok, Record
from harness.store import Store, load_records
from tests.execute import cells, fakes

WRITER = """
import sys
from pathlib import Path
from tests.execute import cells, fakes
from harness.store import Store
root, name, turns = sys.argv[1:]
store = Store(Path(root)).open()
print("ready", flush=True)
for turn in range(int(turns)):
    said = float(f"{name}.{turn}")
    store.write(cells.record(1 + turn % 4, duration_s=said), (fakes.sample(str(said) + " " * 4000),))
"""
FOREVER = 10**6


def writer(root: Path, name: int, turns: int = FOREVER) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(root), str(name), str(turns)]
    process = subprocess.Popen(command, env=cells.SUBPROCESS_ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def check(store: Store) -> list[Record]:
    """Every file loads, and a record that counts has the answers that were written with it."""
    records, problems = load_records(store.root)
    assert problems == []
    return records


def check_answers(store: Store) -> int:
    """How many records have the sidecar that was written with them; that of another write must not count."""
    matching = 0
    for record in check(store):
        assert isinstance(record.outcome, Ok)
        if store.read(record.key.digest) is not None:
            (answer,) = store.samples(record.key.digest)
            assert answer.prediction == f"{record.duration_s}" + " " * 4000
            matching += 1
        else:
            with pytest.raises(ValueError, match="not written with the cell's record"):
                store.samples(record.key.digest)
    return matching


def test_two_writers_and_a_reader_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path).open()
    writers = [writer(tmp_path, name, turns=60) for name in (1, 2)]
    seen = 0
    while any(process.poll() is None for process in writers):
        seen += len(check(store))
    assert [process.returncode for process in writers] == [0, 0]
    assert seen
    assert check_answers(store) == 4
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))


def test_killed_writers_leave_nothing_that_counts_and_nothing_for_ever(tmp_path: Path) -> None:
    store, chance = Store(tmp_path).open(), random.Random(0)
    steady = writer(tmp_path, 9)
    try:
        for name in range(1, 9):
            process = writer(tmp_path, name)
            for _ in range(chance.randrange(1, 6)):
                check(store)
                time.sleep(chance.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
    finally:
        steady.kill()
        steady.wait()
    check_answers(store)
    for path in tmp_path.rglob(f"{TEMPORARY}*"):
        os.utime(path, (0, 0))
    assert writer(tmp_path, 1, turns=4).wait() == 0
    assert check_answers(store) == len(check(store)) == 4
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))


def test_a_kill_between_the_two_renames_is_found_out_and_measured_again(tmp_path: Path) -> None:
    """The narrow window, hit on purpose: the record of one write beside the answers of the next."""
    store = Store(tmp_path).open()
    code = f"""
import os, signal
rename = os.replace
def killed(source, target):
    if str(target).endswith(".json"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = killed
{WRITER}"""
    store.write(cells.record(duration_s=5.0), (fakes.sample("5.0" + " " * 4000),))
    command = [sys.executable, "-c", code, str(tmp_path), "1", "1"]
    done = subprocess.run(command, env=cells.SUBPROCESS_ENV, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(store.records_dir.glob(f"{TEMPORARY}*"))) == 1
    assert check_answers(store) == 0
    store.write(cells.record(duration_s=6.0), (fakes.sample("6.0" + " " * 4000),))
    assert check_answers(store) == 1


def left(folder: Path, name: str, age_s: float) -> Path:
    path = folder / name
    path.write_bytes(b"half")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_the_next_run_removes_what_is_older_than_a_write_takes(tmp_path: Path) -> None:
    store = Store(tmp_path).open()
    for folder in (store.records_dir, store.samples_dir):
        left(folder, ".tmp-old", 120)
        left(folder, ".tmp-young", 0)
    store.open()
    assert {path.name for path in tmp_path.rglob(f"{TEMPORARY}*")} == {".tmp-young"}


def test_without_locks_only_what_is_much_older_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("planted")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    store = Store(tmp_path).open()
    left(store.records_dir, ".tmp-old", 120)
    left(store.records_dir, ".tmp-older", ABANDONED_S + 60)
    store.open()
    assert {path.name for path in tmp_path.rglob(f"{TEMPORARY}*")} == {".tmp-old"}
    store.write(cells.record(), (fakes.sample(),))
    assert store.read(cells.key().digest) is not None


def test_a_lone_file_is_tidied_up_after_without_touching_others(tmp_path: Path) -> None:
    """Baselines lie in folders that hold anything."""
    left(tmp_path, ".tmp-memory.json-abc", ABANDONED_S + 60)
    left(tmp_path, ".tmp-memory.json-new", 0)
    left(tmp_path, ".tmp-somebody-elses", ABANDONED_S + 60)
    replace_file(tmp_path / "memory.json", b"{}")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"memory.json", ".tmp-memory.json-new", ".tmp-somebody-elses"}


def test_counted_records_tidy_their_folder(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    left(tmp_path / FOLDER, ".tmp-x.json-abc", ABANDONED_S + 60)
    write_counted(tmp_path, [])
    assert not list((tmp_path / FOLDER).iterdir())


def test_a_store_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="a file"):
        write_counted(tmp_path / "file", [])
