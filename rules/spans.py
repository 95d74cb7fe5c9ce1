"""Half-open spans of time, [start, end), as sorted lists without overlaps: what they share and what is left of them."""

from collections.abc import Iterable
from datetime import datetime

Span = tuple[datetime, datetime]


def merge(spans: Iterable[Span]) -> list[Span]:
    """Return the union, sorted; spans that touch become one, empty ones vanish."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def shared(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """Return what lies in both."""
    others = merge(right)
    return merge((max(a, c), min(b, d)) for a, b in merge(left) for c, d in others if a < d and c < b)


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """Return what lies in the spans and in none of the holes."""
    left = merge(spans)
    for hole_start, hole_end in merge(holes):
        left = [
            piece
            for start, end in left
            for piece in ((start, min(end, hole_start)), (max(start, hole_end), end))
            if piece[0] < piece[1]
        ]
    return left
