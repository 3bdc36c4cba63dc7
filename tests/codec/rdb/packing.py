"""Listpacks, ziplists, intsets and zipmaps made by hand, each item in the form that is asked for."""

from __future__ import annotations

Item = tuple[str, bytes]
"""(form, text): `i16` with b"-5", `s6` with b"abc"."""

LISTPACK_FORMS = ("u7", "i13", "i16", "i24", "i32", "i64", "s6", "s12", "s32")
ZIPLIST_FORMS = ("imm", "i8", "i16", "i24", "i32", "i64", "s6", "s14", "s32")
BITS = {"u7": 7, "imm": 4, "i8": 8, "i13": 13, "i16": 16, "i24": 24, "i32": 32, "i64": 64}
_LISTPACK_HEADS = {"i16": 0xF1, "i24": 0xF2, "i32": 0xF3, "i64": 0xF4}
_ZIPLIST_HEADS = {"i8": 0xFE, "i16": 0xC0, "i24": 0xF0, "i32": 0xD0, "i64": 0xE0}


def span(form: str) -> tuple[int, int]:
    """Smallest and largest number of a form."""
    if form == "imm":
        return 0, 12
    if form == "u7":
        return 0, 127
    return -(1 << BITS[form] - 1), (1 << BITS[form] - 1) - 1


def best(text: bytes) -> Item:
    """*text* as a listpack of a server has it."""
    if text.isdigit() and str(int(text)).encode() == text and int(text) < 1 << 63:
        return next((form, text) for form in LISTPACK_FORMS[:6] if int(text) <= span(form)[1])
    return ("s6" if len(text) < 64 else "s12" if len(text) < 4096 else "s32"), text


def listpack(items: list[Item], *, count: int | None = None) -> bytes:
    packed = b"".join(_with_back(_listpack_item(*item)) for item in items)
    size, number = 7 + len(packed), len(items) if count is None else count
    return size.to_bytes(4, "little") + number.to_bytes(2, "little") + packed + b"\xff"


def _listpack_item(form: str, text: bytes) -> bytes:
    if form == "u7":
        return bytes((int(text),))
    if form == "i13":
        return (0xC000 | int(text) & 0x1FFF).to_bytes(2, "big")
    if head := _LISTPACK_HEADS.get(form):
        return bytes((head,)) + int(text).to_bytes(BITS[form] // 8, "little", signed=True)
    heads = {"s6": lambda n: bytes((0x80 | n,)), "s12": lambda n: (0xE000 | n).to_bytes(2, "big")}
    return heads.get(form, lambda n: b"\xf0" + n.to_bytes(4, "little"))(len(text)) + text


def _with_back(item: bytes) -> bytes:
    """Seven bits a byte, most significant first; all but the first have the eighth bit."""
    size, width = len(item), 1
    for width, limit in enumerate((127, 16382, 2097150, 268435454), 1):  # noqa: B007
        if size <= limit:
            break
    digits = [size >> 7 * place & 127 for place in reversed(range(width))]
    return item + bytes([digits[0], *(digit | 128 for digit in digits[1:])])


def ziplist(items: list[Item], *, count: int | None = None, long_backs: bool = False) -> bytes:
    """*long_backs*: backward lengths in five bytes where one would do, as a shrunk list keeps them."""
    packed, tail, before = b"", 10, 0
    for item in items:
        tail = 10 + len(packed)
        back = bytes((before,)) if before < 254 and not long_backs else b"\xfe" + before.to_bytes(4, "little")
        entry = back + _ziplist_item(*item)
        packed, before = packed + entry, len(entry)
    number = len(items) if count is None else count
    return (
        (11 + len(packed)).to_bytes(4, "little")
        + tail.to_bytes(4, "little")
        + number.to_bytes(2, "little")
        + packed
        + b"\xff"
    )


def _ziplist_item(form: str, text: bytes) -> bytes:
    if form == "imm":
        return bytes((0xF1 + int(text),))
    if head := _ZIPLIST_HEADS.get(form):
        return bytes((head,)) + int(text).to_bytes(BITS[form] // 8, "little", signed=True)
    if form == "s6":
        return bytes((len(text),)) + text
    if form == "s14":
        return (0x4000 | len(text)).to_bytes(2, "big") + text
    return b"\x80" + len(text).to_bytes(4, "big") + text


def intset(numbers: list[int], width: int) -> bytes:
    packed = b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)
    return width.to_bytes(4, "little") + len(numbers).to_bytes(4, "little") + packed


def zipmap(pairs: list[tuple[bytes, bytes]], *, free: int = 0, counted: bool = True) -> bytes:
    packed = b"".join(
        _zipmap_size(field) + field + _zipmap_size(value) + bytes((free,)) + value + b"x" * free
        for field, value in pairs
    )
    return bytes((len(pairs) if counted and len(pairs) < 254 else 254,)) + packed + b"\xff"


def _zipmap_size(text: bytes) -> bytes:
    return bytes((len(text),)) if len(text) < 254 else b"\xfe" + len(text).to_bytes(4, "little")
