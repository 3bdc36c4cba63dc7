"""Archives (`name.xfer`) as places: the way through one, and how one is written. The format is in codec/archive."""
