"""What an error is about: memory, a disk, or something else."""

from __future__ import annotations

import errno
import io
import os

import pytest
import torch

from harness.errors import UsageError, in_words, is_disk_full, is_out_of_memory


class UnprintableError(RuntimeError):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError


def caused(cause: Exception) -> Exception:
    """An error that another one was raised as."""
    try:
        try:
            raise cause
        except Exception as error:
            raise ValueError("made of it") from error
    except ValueError as error:
        return error


def during(other: Exception) -> Exception:
    """An error of its own while another one was dealt with."""
    try:
        try:
            raise other
        except Exception:
            raise ValueError("something else")  # noqa: B904
    except ValueError as error:
        return error


def host_memory() -> Exception:
    try:
        torch.empty(2**62, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error", [MemoryError(), host_memory(), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_memory_that_was_too_small_is_known_through_what_it_caused(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert is_out_of_memory(caused(caused(error)))
    assert not is_out_of_memory(during(error))
    assert not is_disk_full(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_was_too_small_is_known_through_what_it_caused(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert is_disk_full(error)
    assert is_disk_full(caused(error))
    assert not is_disk_full(during(error))
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), UnprintableError(), OSError(errno.EACCES, "no permission")]
)
def test_other_errors_are_neither(error: Exception) -> None:
    assert not is_out_of_memory(error)
    assert not is_disk_full(error)


def test_an_error_in_words_is_the_same_in_every_process() -> None:
    first = in_words(ValueError(f"cannot identify image file {io.BytesIO()!r}"))
    assert first == in_words(ValueError(f"cannot identify image file {io.BytesIO()!r}"))
    assert first == "ValueError: cannot identify image file <_io.BytesIO object>"
    assert in_words(ValueError("half \udcff")) == "ValueError: half \\udcff"
    assert in_words(UnprintableError()) == "UnprintableError: (its text cannot be made)"
    assert in_words(UsageError("give another value at 0x10")) == "give another value at 0x10"
