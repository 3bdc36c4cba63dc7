"""Lines of JSON (`name.jsonl`) as places: a row a key, lossless, for people and other programs."""
