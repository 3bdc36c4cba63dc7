"""Compares two places, or reads one, and returns Findings; changes nothing."""
