"""The cache survives damage, races and full disks."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch

from harness.measure.cache import EntryCache, Tensors, checksum

NAME = "0123456789abcdef"


class Maker:
    """Makes an entry and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> tuple[list[float], Tensors]:
        self.made += 1
        values = [1.5, 2.5, 3.5]
        return values, {"values": torch.tensor(values), "half": torch.zeros(2, 3, dtype=torch.bfloat16)}


def decode(tensors: Tensors) -> list[float]:
    return [float(value) for value in tensors["values"]]


def entry(cache: EntryCache) -> Path:
    return cache.folder / f"{NAME}.safetensors"


def test_an_entry_is_made_once(cache: EntryCache, warnings: list[str]) -> None:
    maker = Maker()
    assert [cache.get_or_make(NAME, decode, maker) for _ in range(3)] == [[1.5, 2.5, 3.5]] * 3
    assert maker.made == 1
    assert warnings == []
    assert not list(cache.folder.glob("*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "garbage", "other_content"])
def test_damage_is_seen_and_mended(cache: EntryCache, warnings: list[str], damage: str) -> None:
    maker = Maker()
    cache.get_or_make(NAME, decode, maker)
    content = bytearray(entry(cache).read_bytes())
    if damage == "truncated":
        content = content[:-5]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flipped":
        content[-2] ^= 1
    elif damage == "garbage":
        content = bytearray(b"not a tensor file" * 10)
    else:
        other = EntryCache(cache.folder, warnings.append)
        tensors = {"elsewhere": torch.zeros(3)}
        other.put("other", tensors)
        content = bytearray((cache.folder / "other.safetensors").read_bytes())
    entry(cache).write_bytes(bytes(content))
    assert cache.get_or_make(NAME, decode, maker) == [1.5, 2.5, 3.5]
    assert maker.made == 2
    assert len(warnings) >= 1
    assert "damaged" in warnings[0]
    assert cache.get_or_make(NAME, decode, maker) == [1.5, 2.5, 3.5]
    assert maker.made == 2


def test_a_full_disk_costs_nothing_but_the_entry(
    cache: EntryCache, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    maker = Maker()
    assert cache.get_or_make(NAME, decode, maker) == [1.5, 2.5, 3.5]
    assert "No space left on device" in warnings[0]
    assert not list(cache.folder.glob("*.tmp"))
    assert not entry(cache).exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EntryCache(tmp_path / "file" / "cache", warnings.append)
    assert cache.get_or_make(NAME, decode, Maker()) == [1.5, 2.5, 3.5]
    assert "cannot be written" in warnings[0]


def test_what_fails_to_be_made_is_not_stored(cache: EntryCache) -> None:
    def fail() -> tuple[list[float], Tensors]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get_or_make(NAME, decode, fail)
    assert cache.get_or_make(NAME, decode, Maker()) == [1.5, 2.5, 3.5]


def _make_slowly(folder: Path, log: Path) -> None:
    def make() -> tuple[list[float], Tensors]:
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.2)
        return Maker()()

    assert EntryCache(folder, print).get_or_make(NAME, decode, make) == [1.5, 2.5, 3.5]


def test_of_several_processes_one_makes_the_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    log = tmp_path / "log"
    workers = [context.Process(target=_make_slowly, args=(tmp_path / "cache", log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert log.read_text() == "made\n"


def test_what_makes_an_entry_may_ask_for_others(cache: EntryCache) -> None:
    """Names of every first letter: none of them waits for the one that is being made."""
    names = [f"{letter}123" for letter in "0123456789abcdef"]

    def make() -> tuple[list[float], Tensors]:
        for name in names:
            EntryCache(cache.folder, print).get_or_make(name, decode, Maker())
        return Maker()()

    assert cache.get_or_make(NAME, decode, make) == [1.5, 2.5, 3.5]
    assert {path.name for path in cache.folder.iterdir()} == {
        f"{name}.safetensors" for name in (*names, NAME)
    }


def test_without_file_locks_the_work_is_still_done(
    cache: EntryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert cache.get_or_make(NAME, decode, Maker()) == [1.5, 2.5, 3.5]
    assert entry(cache).exists()


def test_old_entries_and_left_over_files_go(cache: EntryCache) -> None:
    cache.get_or_make("aaaa", decode, Maker())
    stale = [cache.folder / "aaaa.safetensors", cache.folder / "killed.tmp", cache.folder / "killed.lock"]
    for path in stale[1:]:
        path.write_bytes(b"half")
    fresh = cache.folder / "running.tmp"
    fresh.write_bytes(b"half")
    for path in stale:
        os.utime(path, (0, 0))
    EntryCache(cache.folder, print).get_or_make(NAME, decode, Maker())
    assert [path.exists() for path in (*stale, fresh)] == [False, False, False, True]


def test_the_checksum_covers_names_types_shapes_and_bytes() -> None:
    base = {"a": torch.zeros(2, 3)}
    variants = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.ones(2, 3)},
    ]
    assert len({checksum(tensors) for tensors in (base, *variants)}) == 5
