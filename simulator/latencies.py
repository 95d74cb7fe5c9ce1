"""How long things took, kept in little room however many there are."""

import math
from collections import Counter

_STEP = 1.02
_LEAST_S = 1e-5


class Latencies:
    """Durations counted in steps of 2 %: a percentile is as exact as that."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, duration_s: float) -> None:
        """Count one duration, in seconds."""
        self._counts[round(math.log(max(duration_s, _LEAST_S) / _LEAST_S, _STEP))] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return the milliseconds that so many per cent took at most, None where nothing was counted."""
        left = math.ceil(len(self) * percent / 100)
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return 1000 * _LEAST_S * _STEP**step
        return None
