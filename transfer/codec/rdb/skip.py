"""Where a value ends, without decoding it.

    type byte -> form (forms.py) -> one atom after the other -> the offset after the last

`after_value` needs the whole value in one piece of bytes. `Walk` goes as far as the bytes reach and goes on from there
with the next ones, so that a value of any size is passed over once, whatever pieces it comes in.

Rule 1: nothing is believed that is not there: a count costs nothing before its rows come.
Rule 2: a walk leaves over less than `MOST_LEFT` bytes: an atom's head that is not whole.
"""

from __future__ import annotations

from transfer.codec.rdb.atoms import cut, read_length
from transfer.codec.rdb.forms import LENGTH, MODULE, ONE_STRING, STRING, Form, Group, form_of
from transfer.model.errors import CutError, FormatError

MOST_LEFT = 32
"""The longest head is that of a module's packed string: a mark and two lengths of 9 bytes, after one of 9."""
_SMALL, _MIDDLE, _U32, _U64, _INTEGER, _LZF = 0x40, 0x80, 0x80, 0x81, 0xC0, 0xC3
_MOST_LENGTH = 1 << 40
"""A string that claims more (1 TiB) is damage, not data."""
_FLOAT, _DOUBLE, _STRING_PART = 3, 4, 5
_WORDLESS_SCORE = 253
"""From this length byte on a score has no text: not a number, and the infinities."""


def after_string(data: bytes, at: int) -> int:
    """The offset after the string at *at*, which may lie behind the end of *data*.

    Raises:
        IndexError: its head is not all there.
        FormatError: this is no string.
    """
    first = data[at]
    if first < _SMALL:
        return at + 1 + first
    if first < _MIDDLE:
        return at + 2 + ((first & 63) << 8 | data[at + 1])
    if first == _LZF:
        return _after_packed(data, at)
    if first in (_U32, _U64):
        size, start = _long(data, at)
        return start + size
    if _INTEGER <= first < _LZF:
        return at + 1 + (1 << (first & 3))
    raise FormatError(f"byte {first:#04x} at offset {at} begins no string", offset=at)


def _after_packed(data: bytes, at: int) -> int:
    """`after_string` of one that is packed. Both lengths are short in most: twice as fast without a call for each."""
    packed = data[at + 1]
    if packed < _SMALL:
        start = at + 2
    elif packed < _MIDDLE:
        packed, start = (packed & 63) << 8 | data[at + 2], at + 3
    else:
        packed, start = _long(data, at + 1)
    head = data[start]
    if head < _SMALL:
        return start + 1 + packed
    return start + 2 + packed if head < _MIDDLE else _long(data, start)[1] + packed


def _length(data: bytes, at: int) -> tuple[int, int]:
    """As `read_length`; one that is cut is an IndexError, as every byte is that is not there."""
    try:
        return read_length(data, at)
    except CutError:
        raise IndexError from None


def _long(data: bytes, at: int) -> tuple[int, int]:
    """As `read_length`, for the lengths of strings."""
    size, start = _length(data, at)
    if size > _MOST_LENGTH:
        raise FormatError(f"a string of {size:,} bytes at offset {at} cannot be", offset=at, size=size)
    return size, start


def after_strings(data: bytes, at: int, count: int) -> tuple[int, int]:
    """Pass over up to *count* strings: the offset after the last whole one, and how many are left."""
    size = len(data)
    try:
        while count:
            first = data[at]
            if first < _SMALL:
                end = at + 1 + first
            elif first < _MIDDLE:
                end = at + 2 + ((first & 63) << 8 | data[at + 1])
            else:
                end = after_string(data, at)
            if end > size:
                break
            at = end
            count -= 1
    except IndexError:
        pass
    return at, count


def _after_rows(shape: Form, data: bytes, at: int, count: int) -> tuple[int, int]:
    """The same for rows of flat *shape*."""
    if shape == (STRING,):
        return after_strings(data, at, count)
    size = len(data)
    try:
        while count:
            end = at
            for atom in shape:
                end = after_string(data, end) if atom == STRING else _after_atom(atom, data, end)  # type: ignore[arg-type]
            if end > size:
                break
            at = end
            count -= 1
    except IndexError:
        pass
    return at, count


def _after_atom(atom: int, data: bytes, at: int) -> int:
    """The offset after one atom; as `after_string`."""
    if atom > 0:
        return at + atom
    if atom == STRING:
        return after_string(data, at)
    if atom == LENGTH:
        return _length(data, at)[1]
    first = data[at]
    return at + 1 + (0 if first >= _WORDLESS_SCORE else first)


def _after_part(data: bytes, at: int) -> tuple[int, bool]:
    """The offset after one marked part of a module's value, and whether it was the end mark."""
    mark, start = _length(data, at)
    if mark > _STRING_PART:
        raise FormatError(f"module opcode {mark} at offset {at} is not known", offset=at, opcode=mark)
    if not mark:
        return start, True
    atom = {_FLOAT: 4, _DOUBLE: 8, _STRING_PART: STRING}.get(mark, LENGTH)
    return _after_atom(atom, data, start), False


def after_value(kind: int, data: bytes, at: int, version: int) -> int:
    """The offset after the value of type *kind* at *at*; *version* is the RDB version it was written in.

    Raises:
        CutError: the value does not end within *data*.
        FormatError: these bytes are no such value.
        UnknownFormError: no such type is known.
    """
    if kind in ONE_STRING:
        try:
            end = after_string(data, at)
        except IndexError:
            raise cut(data, len(data) + 1) from None
        if end > len(data):
            raise cut(data, end)
        return end
    walk = Walk(form_of(kind, version, at))
    end = walk.advance(data, at)
    if not walk.done:
        raise cut(data, len(data) + max(1, walk.missing))
    return end


class Walk:
    """Passes over one value, bytes as they come.

    Attributes:
        missing: bytes of the atom in hand that are certain to come; they are passed over first.
    """

    __slots__ = ("_frames", "missing")

    def __init__(self, form: Form) -> None:
        self._frames: list[tuple[Form, int, int, bool]] = [(form, 0, 1, False)]
        self.missing = 0

    @property
    def done(self) -> bool:
        """Whether the value has ended where the last `advance` did."""
        return not self._frames and not self.missing

    def advance(self, data: bytes, at: int) -> int:
        """Go on at *at*: the offset up to which the bytes are the value's. Come again with what is behind it."""
        if self.missing:
            step = min(self.missing, len(data) - at)
            self.missing -= step
            at += step
        try:
            while self._frames and not self.missing:
                at = self._step(data, at)
        except (IndexError, CutError):
            pass
        return at

    def _step(self, data: bytes, at: int) -> int:
        """One atom, or as many rows of a flat group as there are. Frames change only after the bytes were read."""
        shape, index, left, flat = self._frames[-1]
        if flat and not index:
            end, fewer = _after_rows(shape, data, at, left)
            if fewer < left:
                self._frames[-1] = shape, 0, fewer, flat
                return end
        if not left:
            self._frames.pop()
            return at
        atom = shape[index]
        ended = False
        if isinstance(atom, Group):
            count, at = read_length(data, at)
            self._frames[-1] = _next(shape, index, left, flat)
            self._frames.append((atom.shape, 0, count * atom.times, atom.flat))
            return at
        if atom == MODULE:
            end, ended = _after_part(data, at)
        else:
            end = _after_atom(atom, data, at)
        if atom != MODULE or ended:
            self._frames[-1] = _next(shape, index, left, flat)
        self.missing = max(0, end - len(data))
        return end - self.missing


def _next(shape: Form, index: int, left: int, flat: bool) -> tuple[Form, int, int, bool]:
    return (shape, index + 1, left, flat) if index + 1 < len(shape) else (shape, 0, left - 1, flat)
