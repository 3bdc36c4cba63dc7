"""What an undo archive says beside the values: what was to be written over each, and what of it was.

    [KEYS] [TOMBSTONES] NOTE undo.captured    the pre-images of one group, then what is to stand there
    NOTE undo.again                           names whose pre-images are known; what is to stand there now
    NOTE undo.took                            the group's number, and which of it were written (nil: all)
    NOTE undo.library                         a function library: what is there, what is to be

    undo.captured := [number, db, keys of KEYS, names of TOMBSTONES, digests, [deadline] | nil]
    undo.again    := [number, db, [name], digests, [deadline] | nil]
    undo.took     := [number, [place in the group] | nil]
    undo.library  := [name, code | nil, code | nil]

Rule 1: digests are 17 bytes each (codec/fingerprint.py), in the order of keys, then of names that hold nothing.
Rule 2: a group is begun only once its note is on the disk; one whose note is torn was never begun.
Rule 3: the last pre-image of a name counts. What the job left is what the last write that took intended, or one after.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec.msgpack import Decoder, Encoder

from transfer.codec.archive.items import Note
from transfer.codec.archive.payloads import MOST_KEYS
from transfer.codec.fingerprint import DIGEST_BYTES, Intended
from transfer.model.errors import FormatError
from transfer.model.record import NO_DEADLINE

CAPTURED, AGAIN, TOOK, LIBRARY = "undo.captured", "undo.again", "undo.took", "undo.library"
_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_KEYS)]
_Few = msgspec.Meta(max_length=MOST_KEYS)
_Deadlines = Annotated[list[int], _Few] | None
_encode = Encoder().encode
_captured = Decoder(tuple[int, int, _Count, _Count, bytes, _Deadlines])
_again = Decoder(tuple[int, int, Annotated[list[bytes], _Few], bytes, _Deadlines])
_library = Decoder(tuple[bytes, bytes | None, bytes | None])
_took = Decoder(tuple[int, Annotated[list[_Count], _Few] | None])


class IntendedColumns(msgspec.Struct, frozen=True):
    """What is to stand under several names: digests in one, deadlines if there are any."""

    digests: bytes
    deadlines: list[int] | None

    @classmethod
    def of(cls, intended: list[Intended]) -> IntendedColumns:
        return cls(b"".join([one.digest for one in intended]), some_deadlines([one.expire_at_ms for one in intended]))


def some_deadlines(deadlines: list[int]) -> list[int] | None:
    """*deadlines* if there are any among them."""
    return deadlines if max(deadlines, default=NO_DEADLINE) > NO_DEADLINE else None


class CapturedNote(msgspec.Struct, frozen=True):
    """Of one group: how many names had a value, how many had none, and what is to stand under each."""

    number: int
    db: int
    present: int
    absent: int
    intended: list[Intended]


class AgainNote(msgspec.Struct, frozen=True):
    """Names that the job writes once more."""

    number: int
    db: int
    names: list[bytes]
    intended: list[Intended]


class TookNote(msgspec.Struct, frozen=True):
    """Which places of a group were written; None: all."""

    number: int
    places: list[int] | None


class LibraryNote(msgspec.Struct, frozen=True):
    """The code of one function library before the job writes it, and after; None: there is none."""

    name: bytes
    before: bytes | None
    after: bytes | None


def put_captured(number: int, db: int, present: int, absent: int, intended: IntendedColumns) -> Note:
    """A CapturedNote."""
    return Note(CAPTURED, _encode((number, db, present, absent, intended.digests, intended.deadlines)))


def put_again(note: AgainNote) -> Note:
    columns = IntendedColumns.of(note.intended)
    return Note(AGAIN, _encode((note.number, note.db, note.names, columns.digests, columns.deadlines)))


def put_took(note: TookNote) -> Note:
    return Note(TOOK, _encode((note.number, note.places)))


def put_library(note: LibraryNote) -> Note:
    return Note(LIBRARY, _encode((note.name, note.before, note.after)))


def read_library(note: Note) -> LibraryNote | None:
    """What *note* says of a library; None if it is another's. Raises FormatError: it is not of this shape."""
    if note.name != LIBRARY:
        return None
    try:
        return LibraryNote(*_library.decode(note.data))
    except msgspec.MsgspecError as error:
        raise FormatError(f"a note {note.name} of an undo archive cannot be read: {error}") from None


def read_note(note: Note) -> CapturedNote | AgainNote | TookNote | None:
    """What *note* says; None if it is another's. Raises FormatError: it is none of these shapes."""
    try:
        if note.name == CAPTURED:
            number, db, present, absent, digests, deadlines = _captured.decode(note.data)
            return CapturedNote(number, db, present, absent, _intended(digests, deadlines, present + absent))
        if note.name == AGAIN:
            number, db, names, digests, deadlines = _again.decode(note.data)
            return AgainNote(number, db, names, _intended(digests, deadlines, len(names)))
        if note.name == TOOK:
            return TookNote(*_took.decode(note.data))
    except (msgspec.MsgspecError, ValueError) as error:
        raise FormatError(f"a note {note.name} of an undo archive cannot be read: {error}") from None
    return None


def _intended(digests: bytes, deadlines: list[int] | None, count: int) -> list[Intended]:
    if len(digests) != count * DIGEST_BYTES or (deadlines is not None and len(deadlines) != count):
        raise ValueError("its columns differ in length")
    parts = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    return [Intended(*pair) for pair in zip(parts, deadlines or [NO_DEADLINE] * count, strict=True)]
