"""What is known of the sizes of a server's payloads: how many to ask for at once, and how carefully.

    NONE -> (a large value or mean) -> ESTIMATED -> (still too much) -> EXACT -> ALONE -> the key is named
      ^------- 64 portions without -------'

SCAN gives names in an order that has nothing to do with sizes, so what was met foretells what comes; the
first look, when nothing was met yet, is taken with sizes asked for.
"""

from __future__ import annotations

from enum import IntEnum

_LARGE_BYTES = 256 << 10
_LARGE_MEAN_BYTES = 4 << 10
_CALM_PORTIONS = 64
"""Portions without a large value after which sizes are no longer asked for."""
_FORGETTING = 0.8
"""Share of the old mean that stays in the new one, portion by portion."""
_TRANSACTION_BYTES = 1 << 20
"""What one transaction reads, by the mean: the server serves nobody else meanwhile, and DUMP packs 1 MiB in 4 ms."""
_CAUTION = 2
"""A portion may turn out this many times larger than the mean says."""


class Care(IntEnum):
    """How sizes are learnt before payloads are asked for."""

    NONE = 0
    ESTIMATED = 1  # MEMORY USAGE samples 5 elements of a value
    EXACT = 2  # ... a thousand: it can miss one large element among many
    ALONE = 3  # one key a request


class PayloadSizes:
    """Sizes met so far in one database of one server.

    Attributes:
        care: how to ask next.
        too_large: keys that are not to be asked for, with their size in bytes.
    """

    def __init__(self) -> None:
        self.too_large: dict[bytes, int] = {}
        self._distrust, self._distrusted = Care.NONE, 0
        self._mean_bytes = self._last_mean_bytes = float(_LARGE_MEAN_BYTES)
        self._largest_bytes = _LARGE_BYTES
        self._large_ahead = 1

    @property
    def care(self) -> Care:
        large = self._large_ahead > 0 or self._mean_bytes > _LARGE_MEAN_BYTES
        return max(self._distrust, Care.ESTIMATED if large else Care.NONE)

    def keys_within(self, size_bytes: int) -> int:
        """How many keys may be asked for when their payloads are to stay below *size_bytes*."""
        expected = self._largest_bytes if self.care else self._mean_bytes * _CAUTION
        return max(1, int(size_bytes / max(1.0, expected)))

    @property
    def keys_together(self) -> int:
        """How many keys one transaction may read."""
        mean = max(self._mean_bytes, self._last_mean_bytes)
        return max(1, int(_TRANSACTION_BYTES / max(1.0, mean * _CAUTION)))

    def learn(self, sizes: list[int], received_bytes: int) -> None:
        """Take in one portion: payloads of these *sizes*, in *received_bytes* of replies."""
        if not sizes:
            return
        mean = self._last_mean_bytes = received_bytes / len(sizes)
        self._mean_bytes = _FORGETTING * self._mean_bytes + (1 - _FORGETTING) * mean
        largest = max(sizes) if received_bytes > _LARGE_BYTES else 0
        if largest > _LARGE_BYTES:
            self._large_ahead, self._largest_bytes = _CALM_PORTIONS, largest
        else:
            self._large_ahead = max(0, self._large_ahead - 1)
        self._distrusted = max(0, self._distrusted - 1)
        if not self._distrusted:
            self._distrust = Care.NONE

    def distrust(self, asked: list[bytes], cap_bytes: int) -> None:
        """A reply to *asked* passed *cap_bytes*: ask with more care, or name the one key that was asked."""
        self._large_ahead = _CALM_PORTIONS
        if len(asked) == 1:
            self.too_large[asked[0]] = cap_bytes
            self._distrust = Care.NONE
        else:
            self._distrust, self._distrusted = Care(min(Care.ALONE, self.care + 1)), _CALM_PORTIONS

    def mark_too_large(self, keys: list[bytes], estimates: list[int], limit_bytes: int) -> None:
        """Remember which of *keys* are estimated larger than *limit_bytes*."""
        if max(estimates) > limit_bytes:
            self.too_large |= {key: size for key, size in zip(keys, estimates, strict=True) if size > limit_bytes}
