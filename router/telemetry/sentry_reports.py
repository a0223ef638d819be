"""Reports the router's own errors to Sentry, with the decisions and deliveries before them.

The client is an object of its own: nothing global is set up, no integration hooks into libraries, and no data comes from the
SDK itself. It sends in a thread of its own; what does not fit into its queue is dropped and counted.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import sentry_sdk
from sentry_sdk.transport import HttpTransport
from urllib3.util import Retry, make_headers

from router.model import Millis, SentrySettings
from router.network import Network
from router.telemetry.error_events import allowed, breadcrumb, error_event
from router.telemetry.reported_facts import Fact

MAX_BREADCRUMBS = 100
_MAX_QUEUED_EVENTS = 100
_BREADCRUMBS = "breadcrumbs"


class SentryReports:
    """Keeps the last breadcrumbs, and sends an event for each error. All methods can be called from any thread."""

    def __init__(
        self, settings: SentrySettings, network: Network, now: Callable[[], Millis], dropped: Callable[[str], None]
    ) -> None:  # fmt: skip
        """:param dropped: is called for each event that is lost, with the reason: ``full`` or ``failed``"""
        self._now = now
        self._lock = threading.Lock()
        self._breadcrumbs: deque[dict[str, Any]] = deque(maxlen=MAX_BREADCRUMBS)
        self._counts = {"decision": 0, "delivery": 0, "error": 0}
        self._client = _client(settings, network, dropped)

    def add(self, category: str, facts: Mapping[str, Fact]) -> None:
        """Keep what happened for the events that follow. :param category: ``decision`` or ``delivery``"""
        crumb = breadcrumb(category, facts, self._now())
        with self._lock:
            self._breadcrumbs.append(crumb)
            self._counts[category] += 1

    def report(self, action: str, logger: str, error: BaseException) -> None:
        """Send an event about an error. It does not wait for the network."""
        with self._lock:
            self._counts["error"] += 1
            crumbs, counts = list(self._breadcrumbs), dict(self._counts)
        event = error_event(action, logger, error, counts, self._now())
        # The SDK shortens what it finds in an event, so they are added after that.
        self._client.capture_event(event, {_BREADCRUMBS: crumbs})  # type: ignore[arg-type]

    def close(self, within: float) -> None:
        """Send what waits, for at most this time (seconds), and end. It blocks: call it in a thread."""
        self._client.close(timeout=within)


def _client(settings: SentrySettings, network: Network, dropped: Callable[[str], None]) -> sentry_sdk.Client:
    class Transport(HttpTransport):
        """Counts what is lost, follows no redirect, and trusts the authorities of the network settings."""

        def on_dropped_event(self, reason: str) -> None:
            dropped("full" if reason == "full_queue" else "failed")

        def kill(self) -> None:
            super().kill()
            self._pool.clear()

        def _get_pool_options(self) -> dict[str, Any]:
            # A redirect is returned as the answer, and so counts as a failure.
            options = {**super()._get_pool_options(), "retries": Retry(redirect=0, raise_on_redirect=False)}
            context = network.tls_context()
            return options if context is None else {**options, "ssl_context": context, "ca_certs": None}

    proxy = network.proxy_for(settings.dsn)
    return sentry_sdk.Client(
        dsn=settings.dsn,
        environment=settings.environment,
        release=settings.release,
        sample_rate=settings.sample_rate,
        server_name=settings.server_name,
        transport=Transport,
        transport_queue_size=_MAX_QUEUED_EVENTS,
        shutdown_timeout=0,
        before_send=lambda event, hint: allowed(event, hint.get(_BREADCRUMBS, ())),  # type: ignore[arg-type,return-value]
        # An empty text: the SDK does not look for a proxy in the environment itself.
        http_proxy=proxy or "",
        https_proxy=proxy or "",
        proxy_headers=_proxy_headers(proxy),
        # Everything that the SDK would collect or read by itself is off.
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=False,
        attach_stacktrace=False,
        max_request_body_size="never",
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
        propagate_traces=False,
        debug=False,
        spotlight=False,
    )


def _proxy_headers(proxy: str | None) -> dict[str, str] | None:
    """Return the headers that a proxy with a user and a password needs."""
    parts = urlsplit(proxy or "")
    if parts.username is None:
        return None
    return make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")
