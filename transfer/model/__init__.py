"""The nouns every room speaks and the promises between rooms."""
