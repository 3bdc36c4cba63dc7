"""Payloads of one server as another takes them: as they are, with another version in the footer, or encoded anew.

    payload -> version taken?              -> as it is
            -> type byte taken (as probed) -> the same body, stamped with a version the target takes
            -> else                        -> value in the plainest type the target loads that loses nothing
                                              `-> none: UncrossableError, type commands are what is left

Rule 1: only types that mean the same in both families are stamped anew: up to 21, beyond that within one family.
Rule 2: what the target refused in the first form is tried encoded anew before type commands are.
Rule 3: a body that would kill or be refused by a server of the other family (codec/rdb/backward.py) is encoded anew.
Rule 4: ledgers hold the source's payloads; what goes over the wire is nobody else's business.
"""

from __future__ import annotations

from operator import itemgetter

import msgspec

from transfer.codec.dump import FOOTER_BYTES, MODULE_TYPES, footer_mask, restamped, stamp, version_of
from transfer.codec.rdb.backward import LISTPACK_TYPES, differs_by_family
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
    types whose bodies stay as they are; `asis`: payloads go as they came. `apart`: the servers write long elements of
    listpacks differently; `kills`: the target dies of the source's.
    """

    version: int
    types: frozenset[int]
    kept: frozenset[int]
    asis: bool
    apart: bool = False
    kills: bool = False

    def cross(self, dumps: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
        """What to send for each of *dumps*; by place, why there is nothing to send (b"" stands there)."""
        if not dumps:
            return dumps, {}
        kinds = set(map(_type_byte, dumps))
        apart = self.apart and not kinds.isdisjoint(LISTPACK_TYPES)
        anew: list[int] = []
        if apart or not all(map(self.keeps, kinds)):
            anew = [at for at, dump in enumerate(dumps) if not self.keeps(dump[0]) or (apart and _strange(dump))]
        if self.asis and not anew:
            return dumps, {}
        # all of one server, which writes one version
        sent = list(dumps) if self.asis else restamped(dumps, self.mask(version_of(dumps[0])))
        failed: dict[int, str] = {}
        for at in anew:
            try:
                sent[at] = self.encoded_anew(dumps[at])
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
        """Whether a payload that begins with *kind* may go on without anybody having looked into it."""
        return self.keeps(kind) and not (self.kills and kind in LISTPACK_TYPES)

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
        body, others = dump[:-FOOTER_BYTES], self.types - {dump[0]}
        try:
            return stamp(transcode(body, version_of(dump), others, self.version), self.version)
        except UnencodableError as error:
            raise UncrossableError(str(error)) from None
        except FormatError as error:
            raise UncrossableError(f"its payload cannot be read: {error.message}") from None


AS_IS = Bridge(0, frozenset(), frozenset(), asis=True)
"""Every payload goes as it came."""


def bridge_between(source: Identity, here: Features, target: Identity, there: Features, *, wish: str) -> Bridge:
    """The bridge from a server with features *here* to one with *there*; *wish* is what --format says."""
    version = stamped_version(there.dump_version, there.restores)
    asis = here.dump_version in there.restores and wish != RESTAMP
    common = there.restore_types | MODULE_TYPES
    if source.vendor != target.vendor:
        common = frozenset(kind for kind in common if kind < FIRST_FAMILY_TYPE)
    new = here.dump_version >= FIRST_VALKEY_VERSION, there.dump_version >= FIRST_VALKEY_VERSION
    apart, kills = new[0] != new[1], new == (True, False)
    return Bridge(version, there.restore_types, common, asis, apart=apart, kills=kills)


def _strange(dump: bytes) -> bool:
    """Whether a payload holds an element that the other family writes differently."""
    try:
        return differs_by_family(dump[:-FOOTER_BYTES])
    except FormatError:
        return True  # encoding it anew says what is wrong


def way_of(source: Features, target: Features, wish: str) -> str:
    """raw | restamp | logical: how payloads begin their way under --format auto, restamp or logical."""
    if wish == LOGICAL or not target.restores:
        return LOGICAL
    if wish != RESTAMP and source.dump_version in target.restores:
        return RAW
    return RESTAMP
