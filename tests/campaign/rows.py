"""Every row: importing this registers them all."""

from __future__ import annotations

from tests.campaign import archived, disk, kills, network, replaced, state, undone  # noqa: F401 - each registers its rows
from tests.campaign.cases import CASES

__all__ = ["CASES"]
