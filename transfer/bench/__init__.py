"""Benchmarks: how long, at what cost, beside the peers, on the same servers in the same run.

    questions/* -> ways (ours, peers/*) -> rounds (interleaved) -> medians, ratios -> table | JSON | plot | limits

Rule 1: the ways take turns within a round, so that a slow minute of the machine meets all of them.
Rule 2: medians of the rounds are compared, never the best of one with the worst of another.
Rule 3: a round in which a way of ours did not bring every key across ends the benchmark; a peer's is told as a line.
Rule 4: only servers started here are ever emptied.
"""
