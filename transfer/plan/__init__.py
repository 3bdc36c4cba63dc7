"""Turns a request into a Plan; no effects."""
