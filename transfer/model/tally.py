"""Where every key went, counted once each at the moment its fate is known."""

from __future__ import annotations

from transfer.model.errors import RejectLimitError
from transfer.model.ports import RejectListener
from transfer.model.report import KeyCounts, Reject
from transfer.model.units import some


class Tally:
    """Counts of a run, shared by source and sink.

    Args:
        reject_limit: the run ends when more keys than this are rejected.
        on_reject: told of every rejected key, and of every conflict that is to be listed.
    """

    def __init__(self, reject_limit: int = 1000, on_reject: RejectListener = lambda reject: None) -> None:
        self.counts = KeyCounts()
        self.bytes_read = 0
        self.bytes_written = 0
        self.reject_limit = reject_limit
        self.on_reject = on_reject
        self._rejected: set[int] = set()

    def recall(self, counts: KeyCounts, bytes_read: int, bytes_written: int, rejects: list[Reject]) -> None:
        """Go on from what an earlier process counted, and from the *rejects* that it told of, conflicts apart."""
        for name in KeyCounts.__struct_fields__:
            setattr(self.counts, name, getattr(counts, name))
        self.bytes_read, self.bytes_written = bytes_read, bytes_written
        self._rejected = {hash((reject.db, reject.key)) for reject in rejects}
        uncounted = max(0, len(self._rejected) - self.counts.rejected)  # told just before that process died
        self.counts.rejected += uncounted
        self.counts.read += uncounted

    def settle(self, fate: str, keys: int = 1) -> None:
        """Count *keys* keys under *fate*, a field of KeyCounts."""
        counts = self.counts
        setattr(counts, fate, getattr(counts, fate) + keys)
        counts.read += keys

    def reject(self, db: int, key: bytes, code: str, cause: str) -> None:
        """Count and tell one rejected key of the source; one that was told before is counted as repeated.

        Raises:
            RejectLimitError: it was one too many.
        """
        mark = hash((db, key))
        if mark in self._rejected:
            self.settle("repeated")
            return
        self._rejected.add(mark)
        self.settle("rejected")
        self.on_reject(Reject(db, key, code, cause))
        if self.counts.rejected > self.reject_limit:
            raise RejectLimitError(
                f"more than {some(self.reject_limit, 'key')} rejected (--max-rejects); the last: {cause}",
                rejected=self.counts.rejected,
            )

    def moved(self, fate: str, to: str, keys: int) -> None:
        """Count *keys* keys of one fate as another's."""
        setattr(self.counts, fate, getattr(self.counts, fate) - keys)
        setattr(self.counts, to, getattr(self.counts, to) + keys)
