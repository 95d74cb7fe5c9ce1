"""What `/metrics` tells. Labels are route templates, methods and statuses: nothing that names a vehicle or a person."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The figures of one api process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.started_at_s = time.monotonic()
        self._requests = Counter(
            "tcu_api_requests", "Answered requests", ("method", "route", "status"), registry=self.registry
        )
        self._latency = Histogram(
            "tcu_api_request_seconds", "Time to answer, streams left out", ("route",), registry=self.registry
        )
        self.open_streams = Gauge("tcu_api_open_streams", "Open event streams", registry=self.registry)
        self.closed_slow = Counter(
            "tcu_api_streams_closed_slow", "Streams closed because nobody read them", registry=self.registry
        )
        self.lag = Gauge(
            "tcu_api_stream_lag_seconds",
            "Time since the streams were last known to be up to date",
            registry=self.registry,
        )
        self.connections = Gauge(
            "tcu_api_database_connections", "Of the pool: in use, and most there may be", ("state",),
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "tcu_api_waiting_requests", "Requests that wait for a database connection", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._answered = 0
        self._answering_s = 0.0

    def count(self, *, method: str, route: str, status: int, seconds: float, stream: bool) -> None:
        """Count one answered request."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(known, route, str(status)).inc()
        if not stream:
            self._latency.labels(route).observe(seconds)
            self._answered += 1
            self._answering_s += seconds

    def mean_latency_s(self) -> float | None:
        """Return the mean time to answer since the start, None before the first answer."""
        return self._answering_s / self._answered if self._answered else None

    def uptime_s(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self.started_at_s

    def text(self) -> bytes:
        """Return all figures in the Prometheus text format."""
        return generate_latest(self.registry)
