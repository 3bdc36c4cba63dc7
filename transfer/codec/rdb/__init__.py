"""RDB: the bytes of values, and of files that hold them."""
