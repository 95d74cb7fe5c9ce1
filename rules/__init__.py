"""Decisions: pure modules without I/O and clock, `apply` (load → decide → save), and the scheduled jobs."""
