"""How fast the hot path is, as ratios within one run: generate → load → query, seeded."""
