"""Bytes and operations in words, and sizes of memory as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.units import bytes_text, exact_bytes, operations_text, parse_bytes


@pytest.mark.parametrize(("text", "amount"), [
    ("80GB", 80 * 10**9),
    ("80 gb", 80 * 10**9),
    ("80GiB", 80 * 2**30),
    ("80g", 80 * 2**30),
    ("512m", 512 * 2**20),
    ("512MB", 512 * 10**6),
    (" 1.5 KiB ", 1536),
    ("0.5k", 512),
    ("2T", 2 * 2**40),
    ("1tb", 10**12),
    ("1048576", 2**20),
    ("7b", 7),
])  # fmt: skip
def test_sizes_as_people_write_them(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1e9", "80 GBs", "8,5GB", "80XB", "1.GB", "4iB", "3i", "80GB 2"]
)
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no size of memory; write for example 80GB, 24GiB or 512MiB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "0GB", "0.4", "0.0001k"])
def test_no_memory_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no memory at all; give a size above 0"):
        parse_bytes(text)


@given(amount=st.integers(1, 2**50))
def test_whole_bytes_are_read_as_they_are(amount: int) -> None:
    assert parse_bytes(f"{amount}b") == amount
    if amount >= 2**20:
        assert parse_bytes(str(amount)) == amount


@pytest.mark.parametrize("text", ["80", " 24 ", "1048575"])
def test_a_card_of_some_bytes_wants_its_unit(text: str) -> None:
    with pytest.raises(UsageError, match=rf"give a unit, as in {text.strip()}GB"):
        parse_bytes(text)


@pytest.mark.parametrize(("amount", "text"), [
    (0, "0 FLOP"),
    (999, "999 FLOP"),
    (999.5, "1 kFLOP"),
    (1000, "1 kFLOP"),
    (1.93e12, "1.93 TFLOP"),
    (2.5e18, "2.5 EFLOP"),
    (4e22, "4e+04 EFLOP"),
])  # fmt: skip
def test_operations_have_decimal_units(amount: float, text: str) -> None:
    assert operations_text(amount) == text


@pytest.mark.parametrize(("amount", "text"), [
    (0, "0 bytes"),
    (0.5, "0.5 bytes"),
    (1023, "0.999 KiB"),
    (114_688, "112 KiB"),
    (-2048, "-2 KiB"),
    (5.9 * 2**30, "5.9 GiB"),
])  # fmt: skip
def test_bytes_have_binary_units(amount: float, text: str) -> None:
    assert bytes_text(amount) == text


def test_long_numbers_are_told_twice() -> None:
    assert exact_bytes(1000) == "1,000 bytes"
    assert exact_bytes(2048) == "2,048 bytes (2 KiB)"
