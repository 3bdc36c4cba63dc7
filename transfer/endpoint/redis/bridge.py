"""Payloads of one server as another takes them: as they are, with another version in the footer, or encoded anew.

    payload -> version taken?              -> as it is
            -> type byte taken (as probed) -> the same body, stamped with a version the target takes
            -> else                        -> value in the plainest type the target loads that loses nothing
                                              `-> none: UncrossableError, type commands are what is left

Rule 1: only types that mean the same in both families are stamped anew: up to 21, beyond that within one family.
Rule 2: what the target refused in the first form is tried encoded anew before type commands are.
Rule 3: bodies of Valkey 9 with an element whose length others read wrongly (`codec/rdb/backward.py`) are never kept.
Rule 4: ledgers hold the source's payloads; what goes over the wire is nobody else's business.
"""

from __future__ import annotations

from operator import itemgetter

import msgspec

from transfer.codec.dump import FOOTER_BYTES, MODULE_TYPES, footer_mask, restamped, stamp, version_of
from transfer.codec.rdb.backward import LISTPACK_TYPES, differs_by_family, may_differ
from transfer.codec.rdb.decode import FIRST_VALKEY_VERSION
from transfer.codec.rdb.encode import UnencodableError
from transfer.codec.rdb.transcode import transcode
from transfer.endpoint.redis.restorable import FIRST_FAMILY_TYPE, stamped_version
from transfer.model.endpoint import Features, Identity
from transfer.model.errors import FormatError

RAW, RESTAMP, LOGICAL = "raw", "restamp", "logical"
_type_byte = itemgetter(0)


class UncrossableError(Exception):
    """No payload that the target loads holds this value; the text says why."""


class Bridge(msgspec.Struct, frozen=True):
    """How payloads get from one server to another.

    `version` is what payloads are stamped with, 0 where the target takes none; `types` what it loads; `kept` the
    types whose bodies stay as they are; `asis`: payloads go as they came; `leaves_family`: they are Valkey 9's, and
    the target is of the others.
    """

    version: int
    types: frozenset[int]
    kept: frozenset[int]
    asis: bool
    leaves_family: bool = False

    def cross(self, dumps: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
        """What to send for each of *dumps*; by place, why there is nothing to send (b"" stands there)."""
        if self.asis or not dumps:
            return dumps, {}
        sent = restamped(dumps, self.mask(version_of(dumps[0])))  # all of one server, which writes one version
        if not self.leaves_family and set(map(_type_byte, dumps)) <= self.kept:
            return sent, {}
        return self._cross_mixed(dumps, sent)

    def _cross_mixed(self, dumps: list[bytes], sent: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
        failed: dict[int, str] = {}
        kept = self.kept
        for at, dump in enumerate(dumps):
            deadly = self.leaves_family and may_differ(dump) and _differs(dump)
            if deadly or dump[0] not in kept:
                try:
                    sent[at] = self._transcoded(dump, self.types) if deadly else self.encoded_anew(dump)
                except UncrossableError as error:
                    sent[at], failed[at] = b"", str(error)
        return sent, failed

    def mask(self, version: int) -> int:
        """What stamps a payload of *version* for the target."""
        return 0 if self.asis else footer_mask(version, self.version)

    def stamped(self, footer: bytes) -> bytes:
        """*footer*, the last ten bytes of a payload whose body stays, as the target takes it."""
        return footer if self.asis else (int.from_bytes(footer) ^ self.mask(footer[0] | footer[1] << 8)).to_bytes(10)

    def keeps(self, kind: int) -> bool:
        """Whether a payload that begins with *kind* goes with its body as it is."""
        return self.asis or kind in self.kept

    def passes(self, kind: int) -> bool:
        """Whether a payload that begins with *kind* may go by without being looked at."""
        return self.keeps(kind) and not (self.leaves_family and kind in LISTPACK_TYPES)

    def may_encode_anew(self, dump: bytes) -> bool:
        """Whether *dump* goes with its body as it is, and another form of it might be taken where that is not."""
        return bool(self.version) and self.keeps(dump[0]) and dump[0] not in MODULE_TYPES

    def encoded_anew(self, dump: bytes) -> bytes:
        """The same value in another form.

        Raises:
            UncrossableError: there is none.
        """
        if not self.version:
            raise UncrossableError("the target takes no payload")
        if dump[0] in MODULE_TYPES:
            raise UncrossableError("a module's type")
        return self._transcoded(dump, self.types - {dump[0]})

    def _transcoded(self, dump: bytes, types: frozenset[int]) -> bytes:
        try:
            return stamp(transcode(dump[:-FOOTER_BYTES], version_of(dump), types, self.version), self.version)
        except UnencodableError as error:
            raise UncrossableError(str(error)) from None
        except FormatError as error:
            raise UncrossableError(f"its payload cannot be read: {error.message}") from None


def _differs(dump: bytes) -> bool:
    """Whether *dump* must not go as it is; what cannot be walked through must not either."""
    try:
        return differs_by_family(dump[:-FOOTER_BYTES])
    except FormatError:
        return True


AS_IS = Bridge(0, frozenset(), frozenset(), asis=True)
"""Every payload goes as it came."""


def bridge_between(source: Identity, here: Features, target: Identity, there: Features, *, wish: str) -> Bridge:
    """The bridge from a server with features *here* to one with *there*; *wish* is what --format says."""
    version = stamped_version(there.dump_version, there.restores)
    asis = here.dump_version in there.restores and wish != RESTAMP
    common = there.restore_types | MODULE_TYPES
    if source.vendor != target.vendor:
        common = frozenset(kind for kind in common if kind < FIRST_FAMILY_TYPE)
    leaves = here.dump_version >= FIRST_VALKEY_VERSION > version > 0
    return Bridge(version, there.restore_types, common, asis, leaves)


def way_of(source: Features, target: Features, wish: str) -> str:
    """raw | restamp | logical: how payloads begin their way under --format auto, restamp or logical."""
    if wish == LOGICAL or not target.restores:
        return LOGICAL
    if wish != RESTAMP and source.dump_version in target.restores:
        return RAW
    return RESTAMP
