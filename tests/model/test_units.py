"""Durations, sizes, rates and shares: as written, and as shown."""

from __future__ import annotations

import pytest

from transfer.model.errors import UsageError
from transfer.model.units import (
    bytes_per_s,
    duration_ms,
    keys_per_s,
    share,
    show_bytes,
    show_count,
    show_ms,
    size_bytes,
)


@pytest.mark.parametrize(
    ("text", "ms"), [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("30d", 2_592_000_000)]
)
def test_a_duration_is_kept_in_milliseconds(text: str, ms: int) -> None:
    """Every unit of the contract."""
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "-5s", "5s5s", "1e3s", "s", "٣s", "inf", "nans"])
def test_a_duration_without_a_unit_or_sense_is_refused(text: str) -> None:
    """`--timeout 30` could mean anything: it is asked back."""
    with pytest.raises(UsageError) as caught:
        duration_ms(text)

    assert "30s" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1000", 1000), ("1kb", 1000), ("1.5KiB", 1536)]
)
def test_a_size_is_kept_in_bytes(text: str, size: int) -> None:
    """Binary and decimal units, and plain numbers."""
    assert size_bytes(text) == size


def test_rates_are_per_second_with_or_without_saying_so() -> None:
    """`50k/s` and `50k`; k is 1000 for keys."""
    assert keys_per_s("50k/s") == keys_per_s("50k") == 50_000
    assert bytes_per_s("100MiB/s") == 100 << 20


@pytest.mark.parametrize("text", ["50", "0%", "101%", "-1%", "one%", "%", "nan%", "inf%"])
def test_a_share_is_a_percentage_above_zero(text: str) -> None:
    """A sample of nothing, or of more than all, is a mistake."""
    with pytest.raises(UsageError):
        share(text)


def test_a_share_is_kept_as_a_fraction() -> None:
    """1% is 0.01."""
    assert share("1%") == pytest.approx(0.01)
    assert share("0.5%") == pytest.approx(0.005)


def test_numbers_are_shown_short() -> None:
    """As the progress line of the contract shows them."""
    assert show_count(6_200_000) == "6.2M"
    assert show_count(310_000) == "310k"
    assert show_count(812) == "812"
    assert show_bytes(4_402_341_478) == "4.1 GiB"
    assert show_bytes(512) == "512 B"
    assert show_ms(12_300) == "12.3s"
    assert show_ms(245_000) == "4m 05s"
    assert show_ms(7_800_000) == "2h 10m"
    assert show_ms(273_600_000) == "3d 4h"
