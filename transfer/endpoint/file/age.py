"""Encrypted files: whole ones, in the age format, which the stock `age` opens and makes.

    bytes -> pipe -> thread: pyrage -> file              AgeWriter
    file  -> thread: pyrage -> pipe -> bytes             AgeReader; back to an earlier offset: again from the start

Rule 1: what is given out was authenticated, piece by piece (64 KiB); damage is told after the whole pieces before it.
Rule 2: memory is a pipe's and a piece's, whatever the size of the file.
Rule 3: keys come from files or the environment, never from argv, and are in no text.

Format: age-encryption.org/v1. The extra `crypt` brings pyrage; who does not encrypt does not need it.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from transfer.model.errors import ChecksumError, FileMissingError, FormatError, UsageError, WrongKeyError

_MAGIC = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_MOST_KEY_BYTES = 1 << 20
_PIECE_BYTES = 1 << 18
_KEY_LINES = ("AGE-SECRET-KEY-",)
_SSH_KEY = "-----BEGIN"
_NO_KEY = "no identity given opens this file"

Recipients = Sequence[Any]
Identities = Sequence[Any]
"""As pyrage makes them; it gives no common type for them."""


def is_encrypted(head: bytes) -> bool:
    """Whether a file that begins with *head* is an age file."""
    return head.startswith(_MAGIC)


def recipients_of(texts: Sequence[str]) -> Recipients:
    """Who can open what is written: `age1...`, `ssh-ed25519 ...`, or files that hold such lines.

    Raises:
        UsageError: one of *texts* is neither, or pyrage is not installed.
    """
    return [one for text in texts for line in _lines_of(text) for one in [_recipient(line)]]


def _lines_of(text: str) -> list[str]:
    if text.startswith(("age1", "ssh-")):
        return [text]
    lines = _key_text(Path(text)).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _recipient(line: str) -> Any:
    age, hint = _pyrage(), "an age1... or ssh-ed25519 / ssh-rsa public key, or a file of such lines"
    kinds = [age.ssh.Recipient] if line.startswith("ssh-") else [age.x25519.Recipient, age.tagpq.Recipient]
    for kind in kinds:
        with contextlib.suppress(age.RecipientError, ValueError):
            return kind.from_str(line)
    raise UsageError(f"{_shown(line)} is no recipient", hint=f"--encrypt-to takes {hint}")


def identities_of(path: Path, passphrase: str = "") -> Identities:
    """Keys that open a file, out of the identity file at *path*, itself encrypted by *passphrase* if there is one.

    Raises:
        FileMissingError: it cannot be read.
        UsageError: it holds no identity, or needs a passphrase; pyrage is not installed.
        WrongKeyError: the passphrase is not its.
    """
    age = _pyrage()
    text = _key_text(path, passphrase)
    if text.startswith(_SSH_KEY):
        with contextlib.suppress(age.IdentityError, ValueError):
            return [age.ssh.Identity.from_buffer(text.encode())]
        raise UsageError("this is no key that age can use", where=str(path), hint="--identity takes age or SSH keys")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(_KEY_LINES)]
    if not lines:
        raise UsageError("there is no identity in this file", where=str(path), hint="age-keygen -o FILE makes one")
    try:
        return [age.x25519.Identity.from_str(line) for line in lines]
    except (age.IdentityError, ValueError):
        raise UsageError("an identity in this file cannot be read", where=str(path)) from None


def _key_text(path: Path, passphrase: str = "") -> str:
    try:
        if path.stat().st_size > _MOST_KEY_BYTES:
            raise UsageError("this is too large for a file of keys", where=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise FileMissingError(f"the file of keys cannot be read: {error.strerror}", where=str(path)) from None
    if is_encrypted(data):
        data = _opened(data, path, passphrase)
    return data.decode(errors="replace")


def _opened(data: bytes, path: Path, passphrase: str) -> bytes:
    if not passphrase:
        hint = "set TRANSFER_IDENTITY_PASSPHRASE, or ..._FILE"
        raise UsageError("this identity is encrypted by a passphrase", where=str(path), hint=hint)
    age = _pyrage()
    try:
        return bytes(age.passphrase.decrypt(data, passphrase))
    except (age.DecryptError, OSError, ValueError):
        raise WrongKeyError("the passphrase does not open this identity", where=str(path)) from None


def own_key() -> tuple[Recipients, Identities]:
    """A pair of keys that nobody else has: by it a process reads what it wrote for others, as long as it runs."""
    identity = _pyrage().x25519.Identity.generate()
    return [identity.to_public()], [identity]


def encrypted(data: bytes, recipients: Recipients) -> bytes:
    """*data* as an age file."""
    return bytes(_pyrage().encrypt(data, list(recipients)))


def decrypted(data: bytes, identities: Identities, path: Path, offset: int) -> bytes:
    """What is in the age file *data*, which stands at *offset* of the file at *path*.

    Raises:
        WrongKeyError: no identity opens it.
        ChecksumError: it is damaged.
    """
    age = _pyrage()
    try:
        return bytes(age.decrypt(data, list(identities)))
    except age.DecryptError as error:
        if "No matching keys" in str(error):
            raise WrongKeyError(_NO_KEY, where=str(path)) from None
        raise ChecksumError("the encrypted file is damaged", where=str(path), offset=offset) from None


class _Watched:
    """A file for pyrage, which turns failures of files into its own; *failure* is what the system said."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def _keeping(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except OSError as error:
            self.failure = error
            raise

    def read(self, size: int = -1) -> Any:
        return self._keeping(lambda: self._file.read(size))

    def write(self, data: bytes) -> Any:
        return self._keeping(lambda: self._file.write(data))

    def flush(self) -> None:
        self._keeping(self._file.flush)


class AgeWriter(io.RawIOBase):
    """Encrypts what is written into *out*, which stays open; whole only after `close`."""

    def __init__(self, out: BinaryIO, recipients: Recipients) -> None:
        self._out, self._recipients = _Watched(out), list(recipients)
        self._failure: BaseException | None = None
        reading, writing = os.pipe()
        self._pipe = os.fdopen(writing, "wb", buffering=0)
        self._thread = threading.Thread(target=self._work, args=(reading,), name="age", daemon=True)
        self._thread.start()

    def _work(self, reading: int) -> None:
        with os.fdopen(reading, "rb", buffering=_PIECE_BYTES) as plain:
            try:
                _pyrage().encrypt_io(plain, self._out, self._recipients)
            except BaseException as error:  # told to who writes
                self._failure = self._out.failure or error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """All of *data*. Raises OSError: what failed where it is written to."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._pipe.write(left) :]
        except BrokenPipeError:
            self._end()
            raise
        return len(data)

    def close(self) -> None:
        """Write the end. Raises OSError as `write`."""
        if not self.closed:
            super().close()
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._thread.join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


class AgeReader(io.RawIOBase):
    """The plain bytes of the encrypted file at *path*; seeking back begins anew, so it costs what lies before."""

    def __init__(self, path: Path, identities: Identities) -> None:
        self._path, self._identities = path, list(identities)
        self._failure: BaseException | None = None
        self._begin()

    def _begin(self) -> None:
        self._at, self._ended = 0, False
        reading, writing = os.pipe()
        self._pipe = os.fdopen(reading, "rb", buffering=_PIECE_BYTES)
        self._thread = threading.Thread(target=self._work, args=(writing,), name="age", daemon=True)
        self._thread.start()

    def _work(self, writing: int) -> None:
        try:
            with os.fdopen(writing, "wb", buffering=_PIECE_BYTES) as plain, self._path.open("rb") as file:
                self._decrypt(_Watched(file), plain)
        except BaseException as error:  # told to who reads, if anybody does
            self._failure = error

    def _decrypt(self, sealed: _Watched, plain: BinaryIO) -> None:
        try:
            _pyrage().decrypt_io(sealed, plain, self._identities)
        except Exception:
            if sealed.failure is not None:
                raise sealed.failure from None
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes, fewer only at the end.

        Raises:
            WrongKeyError: no identity opens the file.
            ChecksumError: it is damaged or cut after the bytes that were given.
        """
        data = self._pipe.read(size)
        self._at += len(data)
        if size < 0 or len(data) < size:
            self._finish(told=bool(data))
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            while self.read(_PIECE_BYTES):
                pass
            return self.seek(self._at + offset) if offset else self._at
        target = offset + (self._at if whence == os.SEEK_CUR else 0)
        if target < self._at:
            self._stop()
            self._begin()
        while self._at < target and self.read(min(_PIECE_BYTES, target - self._at)):
            pass
        return self._at

    def _finish(self, *, told: bool) -> None:
        """At the end of what came: whether it is the end of the file. *told*: bytes go out first, the failure after."""
        self._thread.join()
        if self._failure is not None and not told:
            raise self._meaning(self._failure)

    def _meaning(self, failure: BaseException) -> BaseException:
        where = str(self._path)
        if isinstance(failure, _pyrage().DecryptError):
            return WrongKeyError(_NO_KEY, where=where)
        if isinstance(failure, OSError) and failure.errno is None:  # pyrage's own, of what it decrypts
            text = f"the encrypted file is damaged or cut: {self._at:,} plain bytes before that are good"
            return ChecksumError(text, where=where, offset=self._at)
        return failure if isinstance(failure, OSError) else FormatError(f"no age file: {failure}", where=where)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stop()

    def _stop(self) -> None:
        self._pipe.close()
        self._thread.join()
        self._failure = None


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError:
        hint = "pip install 'keyspace-transfer[crypt]'"
        raise UsageError("encrypted files need pyrage, which is not installed", hint=hint) from None
    return pyrage


def _shown(line: str) -> str:
    """Enough of a public key to know it by; a secret key is not shown at all."""
    return "a secret key" if line.upper().startswith(_KEY_LINES) else repr(line[:16])
