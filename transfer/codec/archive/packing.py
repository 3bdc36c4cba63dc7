"""Plain bytes of a frame into stored ones, and back.

    stored := the plain bytes, or exactly one zstd frame that tells their size

Rule 1: compressed is stored only what is smaller so.
Rule 2: no more is taken out than the frame header tells; a zstd frame that claims another size is refused unread.
"""

from __future__ import annotations

import zstandard

from transfer.codec.archive.frames import COMPRESSED, Frame
from transfer.model.errors import FormatError

LEVEL = 3
_LEAST_BYTES = 64
"""Less is not worth trying."""


def pack(plain: bytes, level: int = LEVEL) -> tuple[int, bytes]:
    """(flags, stored bytes) of *plain*; *level* 0 leaves it as it is."""
    if not level or len(plain) < _LEAST_BYTES:
        return 0, plain
    stored = zstandard.ZstdCompressor(level=level, write_content_size=True).compress(plain)
    return (COMPRESSED, stored) if len(stored) < len(plain) else (0, plain)


def unpack(frame: Frame, stored: bytes) -> bytes:
    """The plain bytes. Raises FormatError: *stored* holds anything but so many of them."""
    if not frame.flags & COMPRESSED:
        return stored
    try:
        told = zstandard.get_frame_parameters(stored)
        if told.content_size != frame.plain_bytes or told.dict_id:
            raise _wrong(frame, f"says {told.content_size:,} bytes inside")
        plain = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _wrong(frame, f"cannot be decompressed ({error})") from None
    if len(plain) != frame.plain_bytes:
        raise _wrong(frame, f"gave {len(plain):,} bytes")
    return plain


def _wrong(frame: Frame, what: str) -> FormatError:
    message = f"frame {frame.sequence} at offset {frame.offset} should hold {frame.plain_bytes:,} bytes and {what}"
    return FormatError(message, offset=frame.offset, sequence=frame.sequence)
