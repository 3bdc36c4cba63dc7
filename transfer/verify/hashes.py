"""What stands for a value in the digests of a comparison.

    pair       payloads that are equal byte for byte by their bytes, others by their values: fast, good for one run
    canonical  every value by codec/canonical.py: the same in any version, encoding and year

Rule 1: what cannot be decoded (a module's type) is hashed by its bytes in both.
Rule 2: values too large to be held whole (8 MiB, or a twentieth of --max-memory) are hashed in pieces in both, see
        LargeValue; their canonical digest is the same as if they had been held.
"""

from __future__ import annotations

from typing import Protocol

import xxhash

from transfer.codec.canonical import digest
from transfer.codec.dump import FOOTER_BYTES, MODULE_TYPES
from transfer.codec.rdb.decode import decode_payload
from transfer.model.errors import FormatError, UnknownFormError
from transfer.model.value import Value
from transfer.verify.checks import value_digest

body_hash = xxhash.xxh3_128_digest


class Hashes(Protocol):
    """16 bytes for a value, by what is there of it."""

    def of_payload(self, payload: bytes) -> bytes:
        """Of a DUMP payload."""

    def of_checked(self, payload: bytes) -> tuple[bytes, str]:
        """As `of_payload`, and why it holds no value: "" if it does, or if that was not looked at."""

    def of_items(self, payload: bytes, items: bytes) -> bytes:
        """Of a payload that is no more than *items* in some order; *items* has them in one of our own."""

    def of_value(self, value: Value) -> bytes:
        """Of a value that was read by type commands."""


class PairHashes:
    """For the two sides of one comparison."""

    def of_payload(self, payload: bytes) -> bytes:
        return body_hash(payload[:-FOOTER_BYTES])

    def of_checked(self, payload: bytes) -> tuple[bytes, str]:
        return self.of_payload(payload), ""

    def of_items(self, payload: bytes, items: bytes) -> bytes:
        return body_hash(items)

    def of_value(self, value: Value) -> bytes:
        return value_digest(value)


class CanonicalHashes:
    """For digests that are kept and compared with those of other servers and times."""

    def of_payload(self, payload: bytes) -> bytes:
        return self.of_checked(payload)[0]

    def of_checked(self, payload: bytes) -> tuple[bytes, str]:
        try:
            return digest(decode_payload(payload)), ""
        except FormatError as error:
            foreign = isinstance(error, UnknownFormError) or payload[0] in MODULE_TYPES
            return body_hash(payload[:-FOOTER_BYTES]), "" if foreign else f"its payload does not hold: {error.message}"

    def of_items(self, payload: bytes, items: bytes) -> bytes:
        return self.of_payload(payload)

    def of_value(self, value: Value) -> bytes:
        return digest(value)


HASHES: dict[str, Hashes] = {"pair": PairHashes(), "canonical": CanonicalHashes()}
