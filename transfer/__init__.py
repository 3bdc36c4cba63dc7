"""Moves Redis and Valkey data between servers and proves that what arrived is what left."""

__version__ = "0.1.0"
