"""What is sent for the records of a delivery: their payloads as the bridge makes them.

whole batch    -> column of payloads -> wire batch          those for which there is no payload -> refused
fresh landings -> payloads, encoded anew where the first form was refused --------------------------^
"""

from __future__ import annotations

from itertools import compress
from typing import TypeVar

from transfer.endpoint.redis.bridge import Bridge, UncrossableError
from transfer.endpoint.redis.landing import Delivery, Landing
from transfer.model.record import Batch

_T = TypeVar("_T")


def take_whole(bridge: Bridge, delivery: Delivery, batch: Batch) -> None:
    """Have *batch* sent as it is, those apart whose value the target loads in no form: they are refused."""
    payloads, failed = (batch.dumps, {}) if batch.strings else bridge.cross(batch.dumps)
    if failed:
        landings = [Landing(record, record.key, record.expire_at_ms) for record in batch.records()]
        delivery.refused += [(landings[at], cause) for at, cause in failed.items()]
        crossing = _all_but(failed, len(payloads))
        columns = (batch.keys, batch.dumps, batch.sizes, batch.deadlines)
        batch = Batch(batch.span, batch.db, *(list(compress(column, crossing)) for column in columns))  # type: ignore[arg-type]
        payloads = list(compress(payloads, crossing))
    if not batch.keys:
        return
    delivery.whole = delivery.wire = batch
    if payloads is not batch.dumps:
        sizes = list(map(len, payloads))
        delivery.wire = Batch(batch.span, batch.db, batch.keys, payloads, sizes, batch.deadlines)


def take_fresh(bridge: Bridge, delivery: Delivery) -> list[bytes]:
    """What to send for each fresh landing; those for which there is nothing become refused ones."""
    dumps = [landing.record.dump for landing in delivery.fresh]
    if delivery.strings or not dumps:
        return dumps
    payloads, failed = bridge.cross(dumps)
    if delivery.anew:
        payloads = [_anew(bridge, delivery, at, payload, failed) for at, payload in enumerate(payloads)]
    if failed:
        delivery.refused += [(delivery.fresh[at], cause) for at, cause in failed.items()]
        crossing = _all_but(failed, len(dumps))
        delivery.fresh, payloads = list(compress(delivery.fresh, crossing)), list(compress(payloads, crossing))
    return payloads


def _anew(bridge: Bridge, delivery: Delivery, at: int, payload: bytes, failed: dict[int, str]) -> bytes:
    landing = delivery.fresh[at]
    if landing.name in delivery.anew and at not in failed:
        try:
            return bridge.encoded_anew(landing.record.dump)
        except UncrossableError as error:
            failed[at] = str(error)
    return payload


def _all_but(failed: dict[int, str], count: int) -> list[bool]:
    return [at not in failed for at in range(count)]
