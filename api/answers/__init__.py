"""Rows become the guides' answers: pure, the time is passed in."""
