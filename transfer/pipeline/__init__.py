"""Moves batches through bounded queues and says how fast."""
