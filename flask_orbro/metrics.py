"""Counts and latencies for Prometheus; nothing at all unless ``ORBRO_METRICS`` is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Metrics(Protocol):
    """What is counted."""

    def request(self, credential: str, outcome: str) -> None:
        """One judged request; ``outcome`` is ``accepted``, ``anonymous`` or the problem's ``code``."""

    def verdict(self, remembered: bool) -> None:
        """One verdict, remembered or asked for."""

    def remote(self, question: str, outcome: str, seconds: float) -> None:
        """One question to the platform: ``question`` is the path of a verdict, ``proof`` or ``app_token``."""

    def call(self, method: str, outcome: str, seconds: float) -> None:
        """One call to the platform; ``outcome`` is ``2xx`` to ``5xx``, ``full`` or ``failed``."""

    def connection(self, name: str, method: str, outcome: str, seconds: float) -> None:
        """One call by a connection; as :meth:`call`."""

    def token(self) -> None:
        """One app token made."""


class NoMetrics:
    """Counts nothing."""

    def request(self, credential: str, outcome: str) -> None:
        pass

    def verdict(self, remembered: bool) -> None:
        pass

    def remote(self, question: str, outcome: str, seconds: float) -> None:
        pass

    def call(self, method: str, outcome: str, seconds: float) -> None:
        pass

    def connection(self, name: str, method: str, outcome: str, seconds: float) -> None:
        pass

    def token(self) -> None:
        pass


class PrometheusMetrics:
    """Counts into a registry of its own, so that two apps in one process never mix."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry, "namespace": "orbro"}
        self._requests = Counter("requests", "Requests judged.", ["credential", "outcome"], **options)
        self._verdicts = Counter("verdicts", "Verdicts needed.", ["remembered"], **options)
        self._remote = Histogram(
            "remote_seconds", "Questions to the platform.", ["question", "outcome"], **options
        )
        self._calls = Histogram(
            "call_seconds", "Outbound calls, with all attempts.", ["method", "outcome"], **options
        )
        self._connections = Histogram(
            "connection_seconds",
            "Calls by connections, with all attempts.",
            ["connection", "method", "outcome"],
            **options,
        )
        self._tokens = Counter("tokens", "App tokens made.", **options)
        self._remembered = self._verdicts.labels("yes")
        self._asked = self._verdicts.labels("no")

    def request(self, credential: str, outcome: str) -> None:
        self._requests.labels(credential, outcome).inc()

    def verdict(self, remembered: bool) -> None:
        (self._remembered if remembered else self._asked).inc()

    def remote(self, question: str, outcome: str, seconds: float) -> None:
        self._remote.labels(question, outcome).observe(seconds)

    def call(self, method: str, outcome: str, seconds: float) -> None:
        self._calls.labels(method, outcome).observe(seconds)

    def connection(self, name: str, method: str, outcome: str, seconds: float) -> None:
        self._connections.labels(name, method, outcome).observe(seconds)

    def token(self) -> None:
        self._tokens.inc()


def make_metrics(enabled: bool) -> NoMetrics | PrometheusMetrics:
    """:raises ConfigurationError: where they are switched on and the extra is not installed."""
    if not enabled:
        return NoMetrics()
    try:
        return PrometheusMetrics()
    except ImportError:
        raise ConfigurationError(
            "ORBRO_METRICS is on, but prometheus-client is not installed. "
            "Install it with: pip install 'flask-orbro[metrics]'"
        ) from None
