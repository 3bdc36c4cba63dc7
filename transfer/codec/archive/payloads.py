"""What stands in frames, as msgpack: columns and structs of known shape, to and from items.

    KEYS       [db, RDB version, [name], [body], [deadline] | nil, use (0 none, 1 idletime, 2 freq), [use] | nil]
    TOMBSTONES [db, [name]]        LARGE [db, RDB version, name, type byte, deadline, use, value of it]
    NOTE       [name, data]        LARGE_END [size]    PIECE: the bytes themselves    HEAD, FACTS, MANIFEST: maps

Rule 1: decoding is by type: whatever is of another shape or nests deeper is refused, not built.
Rule 2: a list of more than MOST_KEYS items is refused before anything is made of it.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder

from transfer.codec.archive.frames import Frame, Kind, RawFrame
from transfer.codec.archive.items import (
    Columns,
    End,
    Facts,
    Head,
    Keys,
    LargeEnd,
    LargeKey,
    Manifest,
    Note,
    Piece,
    Tombstones,
    Unknown,
    Use,
)  # fmt: skip
from transfer.codec.archive.keymap import Index, KeyMap
from transfer.codec.archive.packing import unpack
from transfer.model.errors import FormatError

MOST_KEYS = 1 << 18
"""Of one frame: with the cap on its bytes it bounds what a hostile one makes us hold."""
_Db = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
_Version = Annotated[int, msgspec.Meta(ge=1, le=(1 << 16) - 1)]
_Moment = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_UseKind = Annotated[int, msgspec.Meta(ge=0, le=2)]
_Names = Annotated[list[bytes], msgspec.Meta(max_length=MOST_KEYS)]
_Moments = Annotated[list[_Moment], msgspec.Meta(max_length=MOST_KEYS)]
_USES: tuple[Use, ...] = ("", "idletime", "freq")
_END = struct.Struct("<QQQQ8s")
_TAIL = b"XFEREND\n"

Item = Head | Facts | Keys | Tombstones | Note | LargeKey | Piece | LargeEnd | KeyMap | Index | Manifest | End | Unknown
T = TypeVar("T")

_encode = Encoder().encode
_keys = Decoder(tuple[_Db, _Version, _Names, _Names, _Moments | None, _UseKind, _Moments | None])
_tombstones = Decoder(tuple[_Db, _Names])
_large = Decoder(tuple[_Db, _Version, bytes, Annotated[int, msgspec.Meta(ge=0, le=255)], _Moment, _UseKind, _Moment])
_large_end = Decoder(tuple[int])
_note = Decoder(tuple[str, bytes])
_head, _facts, _manifest = Decoder(Head), Decoder(Facts), Decoder(Manifest)
_keymap, _index = Decoder(KeyMap), Decoder(Index)


def put_keys(columns: Columns) -> bytes:
    """The plain bytes of a KEYS frame."""
    some = columns.deadlines.count(-1) < len(columns.deadlines)
    deadlines = columns.deadlines if some else None
    use = _USES.index(columns.use)
    return _encode(
        (columns.db, columns.version, columns.keys, columns.bodies, deadlines, use, columns.uses if use else None)
    )


def put_tombstones(item: Tombstones) -> bytes:
    return _encode((item.db, item.keys))


def put_large(key: LargeKey) -> bytes:
    """The plain bytes of a LARGE frame."""
    use = _USES.index(key.use)
    return _encode((key.db, key.version, key.key, key.kind, key.deadline, use, key.use_value))


def put_large_end(size: int) -> bytes:
    return _encode((size,))


def put_note(note: Note) -> bytes:
    return _encode((note.name, note.data))


def put_struct(item: Head | Facts | Manifest | KeyMap | Index) -> bytes:
    """As a map, or for the parts of the index as an array."""
    return _encode(item)


def put_end(end: End) -> bytes:
    """The plain bytes of the last frame."""
    return _END.pack(end.index_offset, end.manifest_offset, end.end_offset, end.keys, _TAIL)


def unseal(raw: RawFrame) -> Item:
    """What a checked frame holds; to be run in a worker thread where it is large.

    Raises:
        FormatError: it holds anything else than its kind says.
    """
    frame = raw.frame
    try:
        plain = unpack(frame, raw.stored)
        match frame.kind:
            case Kind.KEYS:
                return _read_keys(frame, plain)
            case Kind.PIECE:
                return Piece(plain)
            case Kind.END:
                return _read_end(plain)
            case Kind.LARGE:
                return _read_large(plain)
            case Kind.TOMBSTONES:
                return Tombstones(*_tombstones.decode(plain))
            case Kind.NOTE:
                return Note(*_note.decode(plain))
            case Kind.LARGE_END:
                return LargeEnd(_large_end.decode(plain)[0], frame.end)
        decoder = _MAPS.get(frame.kind)
        return Unknown(frame) if decoder is None else decoder.decode(plain)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        message = (
            f"frame {frame.sequence} at offset {frame.offset} does not hold what its kind {frame.kind} says: {error}"
        )
        raise FormatError(message, offset=frame.offset, sequence=frame.sequence) from None


_MAPS: dict[int, Decoder[Any]] = {
    Kind.HEAD: _head,
    Kind.FACTS: _facts,
    Kind.MANIFEST: _manifest,
    Kind.KEYMAP: _keymap,
    Kind.INDEX: _index,
}


def _read_keys(frame: Frame, plain: bytes) -> Keys:
    db, version, keys, bodies, deadlines, use, uses = _keys.decode(plain)
    size = len(keys)
    if deadlines is None:
        deadlines = [-1] * size
    if not len(bodies) == len(deadlines) == size or len(uses or ()) != (size if use else 0):
        raise ValueError("its columns differ in length")
    if b"" in bodies:
        raise ValueError("a body is empty")
    return Keys(db, version, keys, bodies, deadlines, uses or [], _USES[use], frame=frame)


def _read_large(plain: bytes) -> LargeKey:
    db, version, key, kind, deadline, use, value = _large.decode(plain)
    return LargeKey(db, key, kind, deadline, value, _USES[use], version=version)


def _read_end(plain: bytes) -> End:
    if len(plain) != _END.size or not plain.endswith(_TAIL):
        raise ValueError("its last bytes are not those of an end")
    index, manifest, end, keys, _tail = _END.unpack(plain)
    return End(index, manifest, end, keys)
