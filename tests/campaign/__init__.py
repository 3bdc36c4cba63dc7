"""Runs under faults, by the thousand: see `python -m tests.campaign --help` and `docs/reliability.md`."""
