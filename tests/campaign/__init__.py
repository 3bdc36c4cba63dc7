"""Long campaigns: many seeded runs, each replayable."""
