"""Answers that say "not now", to whoever reads: they are no answer about a key.

    BUSY, TRYAGAIN ...  -> LinkError: the link is closed (a MULTI may stand open on it), the same is asked again
    LOADING             -> ReplacedError: what was read so far is another data set's than what comes after

A server that answered and now loads has lost what it held, or gets it anew (a replica that resyncs, a restart
behind a proxy that kept our connection): cursors and acknowledgements mean nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from transfer.model.errors import LinkError, ReplacedError
from transfer.wire.link import Link
from transfer.wire.replies import ReplyClass, classify, waits


def replaced_data(text: str, where: str) -> ReplacedError:
    """The failure for a LOADING answer."""
    return ReplacedError(f"the server loads its data anew: {text}", where=where)


async def refuse_passing(link: Link, texts: Iterable[str]) -> None:
    """Raise if any of *texts*, error replies that came over *link*, says that the server cannot answer now.

    Raises:
        ReplacedError: it loads its data.
        LinkError: it will answer later; *link* is closed.
    """
    for text in texts:
        if classify(text) is ReplyClass.LOADING:
            await link.close()
            raise replaced_data(text, link.where)
        if waits(text):
            await link.close()
            raise LinkError(f"the server cannot answer now: {text}", where=link.where)
