"""Sample data: realistic keys of every type from a seed, to fill a server with, check and take away again.

    families, values: seed -> name, value, lifetime    requests: value <-> commands    fill, verify, clear

`transfer:demo:manifest`, one key per database that is used, says which seed and how many keys were written
and when; verify and clear make everything else from it again.
"""

from transfer.endpoint.redis.sample.clear import Cleared, clear
from transfer.endpoint.redis.sample.families import DEFAULT_KEYS, DEFAULT_SEED, MANIFEST_KEY
from transfer.endpoint.redis.sample.fill import Filled, fill
from transfer.endpoint.redis.sample.verify import FamilyCount, Verified, verify

__all__ = [
    "DEFAULT_KEYS",
    "DEFAULT_SEED",
    "MANIFEST_KEY",
    "Cleared",
    "FamilyCount",
    "Filled",
    "Verified",
    "clear",
    "fill",
    "verify",
]
