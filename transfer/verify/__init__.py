"""Compares two places and returns Findings; changes nothing."""
