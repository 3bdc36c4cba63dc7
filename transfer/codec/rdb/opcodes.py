"""The bytes that stand in an RDB file where a value's type could stand.

Source: redis/src/rdb.h, valkey/src/rdb.h; 243 and 242 mean different things in the two families.
"""

END, SELECT_DB, EXPIRE_S, EXPIRE_MS, RESIZE_DB, AUX = 255, 254, 253, 252, 251, 250
FREQ, IDLE, MODULE_AUX, FUNCTION_PRE_GA, FUNCTION, SLOT_INFO, SLOT_IMPORT = 249, 248, 247, 246, 245, 244, 243
FIRST = 200
"""Bytes from here on are no value types: Dragonfly's own begin here."""
REDIS_NEWEST, VALKEY_NEWEST, VALKEY_OLDEST = 16, 81, 80
CHECKSUM_SINCE = 5
