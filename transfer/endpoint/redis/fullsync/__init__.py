"""A server read by one full sync: its RDB stream, drained to a spool, cut into batches while it comes."""
