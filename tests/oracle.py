"""What a server really holds, told by redis-py: shares no code with the engine."""

from __future__ import annotations

from typing import Any

import redis

from transfer.model.endpoint import Address

Content = dict[bytes, tuple[Any, int]]
"""key -> (value as a Python object, absolute deadline in ms or -1)"""


def client(address: Address, db: int = 0) -> redis.Redis:
    password = address.password.reveal() if address.password else None
    if address.path:
        return redis.Redis(unix_socket_path=address.path, db=db, password=password, protocol=2)
    return redis.Redis(host=address.host, port=address.port, db=db, password=password, protocol=2)


def contents(address: Address, db: int = 0) -> Content:
    """Every key of one database. Deadlines before 7.0 are TIME + PTTL, good to a few milliseconds."""
    with client(address, db) as server:
        return {key: (_value(server, key), _deadline(server, key)) for key in server.scan_iter(count=1000)}


def values(address: Address, db: int = 0) -> dict[bytes, Any]:
    return {key: value for key, (value, _) in contents(address, db).items()}


def assert_same(left: Address, right: Address, dbs: tuple[int, ...] = (0,), tolerance_ms: int = 5) -> None:
    """Fails unless both servers hold the same keys, values and deadlines in *dbs*."""
    for db in dbs:
        here, there = contents(left, db), contents(right, db)
        assert here.keys() == there.keys(), (db, sorted(here.keys() ^ there.keys())[:5])
        for key, (value, deadline) in here.items():
            assert value == there[key][0], (db, key)
            assert _near(deadline, there[key][1], tolerance_ms), (db, key, deadline, there[key][1])


def _near(left: int, right: int, tolerance_ms: int) -> bool:
    return left == right if -1 in (left, right) else abs(left - right) <= tolerance_ms


def _deadline(server: redis.Redis, key: bytes) -> int:
    try:
        return int(server.execute_command("PEXPIRETIME", key))
    except redis.ResponseError:
        with server.pipeline(transaction=True) as moment:
            ttl, (seconds, micros) = moment.pttl(key).time().execute()
        return ttl if ttl < 0 else seconds * 1000 + micros // 1000 + ttl


def _value(server: redis.Redis, key: bytes) -> Any:
    kind = server.type(key)
    if kind == b"string":
        return server.get(key)
    if kind == b"list":
        return server.lrange(key, 0, -1)
    if kind == b"set":
        return frozenset(server.smembers(key))
    if kind == b"hash":
        return server.hgetall(key)
    if kind == b"zset":
        return dict(server.zrange(key, 0, -1, withscores=True))
    if kind == b"stream":
        return _stream(server, key)
    return (kind, server.dump(key))


def _stream(server: redis.Redis, key: bytes) -> Any:
    groups = []
    for group in server.xinfo_groups(key):
        pending = server.xpending_range(key, group["name"], "-", "+", 100_000)
        consumers = sorted(consumer["name"] for consumer in server.xinfo_consumers(key, group["name"]))
        claimed = [(entry["message_id"], entry["consumer"], entry["times_delivered"]) for entry in pending]
        groups.append((group["name"], group["last-delivered-id"], consumers, claimed))
    return server.xrange(key), server.xinfo_stream(key)["last-generated-id"], groups
