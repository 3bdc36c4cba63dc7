"""A row that cannot be run here."""


class Skip(Exception):
    """Says what is missing."""
