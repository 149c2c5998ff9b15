"""Metrics of one process, in a registry of its own; aggregates only, so labels are few and bounded.

Names are given without the prefix `tiercast_`, units last.
"""

from collections.abc import Sequence

import prometheus_client

NAMESPACE = "tiercast"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Metrics:
    """Makes instruments and writes them all out as text."""

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(name, text, labels, namespace=NAMESPACE, registry=self._registry)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, labels, namespace=NAMESPACE, registry=self._registry)

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float] | None = None
    ) -> prometheus_client.Histogram:
        bounds = prometheus_client.Histogram.DEFAULT_BUCKETS if buckets is None else buckets
        return prometheus_client.Histogram(
            name, text, labels, namespace=NAMESPACE, registry=self._registry, buckets=bounds
        )

    def text(self) -> bytes:
        """The exposition format, for `/metrics`."""
        return prometheus_client.generate_latest(self._registry)
