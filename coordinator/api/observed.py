"""What is told of requests: one log line and two metrics each. Never a query, a body or a token."""

import logging

from aiohttp import http_exceptions, web

from coordinator.host import logs, metrics

_LOG = logs.Log("api")


class Library(logging.Logger):
    """The library's own log. It quotes what it cannot read, and a token may stand in that: only the fact is told."""

    def __init__(self) -> None:
        super().__init__("aiohttp.server", logging.ERROR)
        self.parent = logging.getLogger()

    def exception(self, msg: object, *args: object, exc_info: object = True, **_rest: object) -> None:
        """As everywhere where it is not the client's fault."""
        if isinstance(exc_info, http_exceptions.HttpProcessingError):
            _LOG.info("request cannot be read", source=args[0] if args else "")
        else:
            _LOG.error("request broke in the library", at=str(msg)[:60], problem=type(exc_info).__name__)


_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0)


class Observed:
    """See the module. Labels are bounded: the path is that of the table, not the caller's."""

    def __init__(self, meters: metrics.Metrics) -> None:
        self.meters = meters
        self._requests = meters.counter(
            "http_requests_total", "HTTP requests answered", ("method", "path", "status")
        )
        self._seconds = meters.histogram(
            "http_request_seconds", "Time until the answer", ("path",), buckets=_SECONDS
        )

    def answered(
        self, request: web.Request, request_id: str, response: web.StreamResponse, span_s: float
    ) -> None:
        """Every request ends here once."""
        resource = request.match_info.route.resource
        known = resource.canonical if resource is not None else "unknown"
        method = request.method if request.method in {"GET", "HEAD", "POST", "DELETE"} else "other"
        self._requests.labels(method, known, str(response.status)).inc()
        self._seconds.labels(known).observe(span_s)
        _LOG.info(
            "request answered",
            method=method,
            path=request.path[:200],
            status=response.status,
            ms=round(span_s * 1000, 1),
            source=request.remote,
            request=request_id,
        )

    def broke(self, request: web.Request, request_id: str) -> None:
        """Our fault; the stack trace is for the log alone."""
        _LOG.crashed("request broke", path=request.path[:200], request=request_id)
