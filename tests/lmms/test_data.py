"""Local copies of data sets: which files are read, how they are told apart, what is said where none fits."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import datasets
import pytest

from harness.errors import UsageError
from harness.lmms.data import fingerprint, read_local
from tests.lmms.picture_sets import CHARTQA
from tests.lmms.sources import photo, write


@pytest.fixture(autouse=True)
def _own_cache(own_cache: Path) -> None:
    """Nothing is left in the user's caches."""


def table(*answers: str) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"answer": list(answers)})


@pytest.mark.parametrize(
    "name",
    [
        "test.parquet",
        "data/test-00000-of-00001.parquet",
        "One/test-00000-of-00001.parquet",
        "anything.parquet",
    ],
)
def test_parquet_files_are_found_by_their_split(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    table("a", "b").to_parquet(str(tmp_path / name))
    assert read_local(tmp_path, "One", ["test"])["test"]["answer"][:] == ["a", "b"]


def test_shards_are_read_in_order_and_other_splits_left(tmp_path: Path) -> None:
    for name, answer in (("test-00001-of-00002", "b"), ("test-00000-of-00002", "a"), ("train", "c")):
        table(answer).to_parquet(str(tmp_path / f"{name}.parquet"))
    assert read_local(tmp_path, None, ["test"])["test"]["answer"][:] == ["a", "b"]


def test_json_lines_and_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"answer": "a"}\n{"answer": "b"}\n')
    assert read_local(path, None, ["test"])["test"]["answer"][:] == ["a", "b"]


def test_a_saved_data_set(tmp_path: Path) -> None:
    folder = write(CHARTQA, tmp_path)
    assert len(read_local(folder, None, ["test"])["test"]) == len(CHARTQA.rows)


def test_images_without_their_schema_are_images(tmp_path: Path) -> None:
    import io

    buffer = io.BytesIO()
    photo(0).save(buffer, "PNG")
    raw = datasets.Dataset.from_dict({"image": [{"bytes": buffer.getvalue(), "path": None}]})
    raw.to_parquet(str(tmp_path / "test.parquet"))
    assert read_local(tmp_path, None, ["test"])["test"][0]["image"].size == photo(0).size


def test_a_split_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    table("a").to_parquet(str(tmp_path / "train.parquet"))
    table("a").to_parquet(str(tmp_path / "dev.parquet"))
    with pytest.raises(UsageError, match=r"holds no split 'test' of configuration 'X'.*test\.parquet"):
        read_local(tmp_path, "X", ["test"])


def test_the_fingerprint_follows_contents_not_places(tmp_path: Path) -> None:
    for folder, answer in (("one", "a"), ("two", "a"), ("three", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(f'{{"answer": "{answer}"}}\n')
        (tmp_path / folder / "v.mp4").write_bytes(b"12")
    one, two, three = (fingerprint(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two != three
    (tmp_path / "two" / "v.mp4").write_bytes(b"123")
    assert fingerprint(tmp_path / "two") != one


@pytest.mark.parametrize(("make", "says"), [(False, "does not exist"), (True, "holds no file")])
def test_a_folder_without_data_is_refused(tmp_path: Path, make: bool, says: str) -> None:
    path = tmp_path / "data"
    if make:
        path.mkdir()
    with pytest.raises(UsageError, match=says):
        fingerprint(path)


@pytest.mark.parametrize("name", ["train", "validation-00000-of-00001", "dev"])
def test_another_split_alone_is_not_taken_for_the_one_that_is_wanted(tmp_path: Path, name: str) -> None:
    table("a").to_parquet(str(tmp_path / f"{name}.parquet"))
    with pytest.raises(UsageError, match=rf"holds no split 'test' \(found: {name.partition('-')[0]}\)"):
        read_local(tmp_path, None, ["test"])


@pytest.mark.parametrize(("name", "kind"), [("test.parquet", "parquet"), ("test.jsonl", "json")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_text('{"answer": "a"}\n{half')
    with pytest.raises(
        UsageError, match=rf"data in \S+{name} cannot be read as {kind}: \w+: .+; give whole files with rows"
    ):
        read_local(tmp_path, None, ["test"])


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    table("a").to_parquet(str(tmp_path / "test.parquet"))
    (tmp_path / "v0.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(UsageError, match=r"holds \S+v0\.mp4, a link to nothing; mend or remove it"):
        fingerprint(tmp_path)


def test_linked_folders_are_read_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "data"
    for path in (elsewhere, data):
        path.mkdir()
    table("a").to_parquet(str(elsewhere / "test.parquet"))
    (elsewhere / "v0.mp4").write_bytes(b"12")
    (data / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(data)
    assert read_local(data, None, ["test"])["test"]["answer"][:] == ["a"]
    before = fingerprint(data)
    (elsewhere / "v0.mp4").write_bytes(b"123")
    assert fingerprint(data) != before


@pytest.mark.parametrize("name", ["test.json", "v0.mp4"])
def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    table("a").to_parquet(str(tmp_path / "test.parquet"))
    os.mkfifo(tmp_path / name)
    with pytest.raises(
        UsageError, match=rf"holds \S+{name}, which is no file \(a pipe, a socket or a device\)"
    ):
        fingerprint(tmp_path)
    with pytest.raises(UsageError, match="is neither a folder nor a file"):
        fingerprint(tmp_path / name)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    table("a").to_parquet(str(tmp_path / "test.parquet"))
    before = fingerprint(tmp_path)
    for name in (".hidden", ".git/object"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("b")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MemoryError("no room"), id="memory"),
        pytest.param(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), id="disk"),
    ],
)
def test_a_machine_that_is_too_small_is_not_blamed_on_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    table("a").to_parquet(str(tmp_path / "test.parquet"))

    def read(*_: object, **__: object) -> None:
        try:
            raise error
        except Exception as cause:
            raise ValueError("while the table was made") from cause

    monkeypatch.setattr(datasets.Dataset, "from_parquet", read)
    with pytest.raises(ValueError, match="while the table") as met:
        read_local(tmp_path, None, ["test"])
    assert not isinstance(met.value, UsageError)
    assert met.value.__cause__ is error


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["test-00000-of-00002.parquet"], "has 1 of 2 files .*; copy the others too"),
        (["test.parquet", "old/test.parquet"], "several tables; leave one of them"),
        (["test.parquet", "test-00000-of-00001.parquet"], "several tables"),
        (["a/test-00000-of-00002.parquet", "b/test-00001-of-00002.parquet"], "several tables"),
    ],
)
def test_half_a_table_and_two_of_them_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        table("a").to_parquet(str(tmp_path / name))
    with pytest.raises(UsageError, match=f"split 'test' {message}|split 'test' is in .*{message}"):
        read_local(tmp_path, None, ["test"])


def test_a_table_in_two_formats_is_refused(tmp_path: Path) -> None:
    table("a").to_parquet(str(tmp_path / "test.parquet"))
    table("a").to_json(str(tmp_path / "test.jsonl"))
    with pytest.raises(UsageError, match="several tables"):
        read_local(tmp_path, None, ["test"])


def test_all_shards_of_a_table_are_one(tmp_path: Path) -> None:
    for place in range(2):
        table(str(place)).to_parquet(str(tmp_path / f"test-0000{place}-of-00002.parquet"))
    assert len(read_local(tmp_path, None, ["test"])["test"]) == 2 * len(table("a"))
