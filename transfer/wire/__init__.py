"""Conversations with Redis servers over anyio streams."""
