"""Sends spans to a collector: in batches, in a thread of its own, bounded, with every lost span counted."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from requests.adapters import HTTPAdapter

from router.model import TracingSettings
from router.network import Network

MAX_QUEUED_SPANS = 4_096
_MAX_BATCH = 512
_EVERY_MILLIS = 2_000
_TIMEOUT_SECONDS = 10.0
_LIMITS = SpanLimits(max_attributes=64, max_events=64, max_links=64, max_attribute_length=512)


class SpanExport:
    """The way of the spans from the event loop to the collector."""

    def __init__(
        self, settings: TracingSettings, network: Network, dropped: Callable[[str, int], None]
    ) -> None:
        """:param dropped: is called with the reason, ``full`` or ``failed``, and how many spans were lost"""
        self._session = _session(settings.url, network)
        exporter = OTLPSpanExporter(
            settings.url, headers=dict(settings.headers), timeout=_TIMEOUT_SECONDS, session=self._session
        )  # fmt: skip
        self._counted = _CountedSpans(exporter, dropped)
        self.provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample_rate)),
            resource=Resource(dict(settings.resource)),
            span_limits=_LIMITS,
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self._counted)

    def close(self, within: float) -> None:
        """Send what waits, for at most this time (seconds), and end. It blocks: call it in a thread."""
        ending = threading.Thread(target=self.provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(within)
        self._counted.give_up()
        self._session.close()


class _CountedSpans(SpanProcessor):
    """Puts spans into the SDK's queue while it has room, so that the SDK never drops one silently."""

    def __init__(self, exporter: SpanExporter, dropped: Callable[[str, int], None]) -> None:
        self._dropped = dropped
        self._lock = threading.Lock()
        self._waiting = 0
        self._exporter = _CountedExport(exporter, self._exported)
        self._queue = BatchSpanProcessor(
            self._exporter, max_queue_size=MAX_QUEUED_SPANS, schedule_delay_millis=_EVERY_MILLIS,
            max_export_batch_size=_MAX_BATCH,
        )  # fmt: skip

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only ended spans are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        with self._lock:
            is_full = self._waiting >= MAX_QUEUED_SPANS
            self._waiting += not is_full
        if is_full:
            self._dropped("full", 1)
        else:
            self._queue.on_end(span)

    def shutdown(self) -> None:
        self._queue.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """End a request that is under way, and count what was not sent."""
        self._exporter.shutdown()
        with self._lock:
            lost, self._waiting = self._waiting, 0
        if lost:
            self._dropped("failed", lost)

    def _exported(self, count: int, *, is_success: bool) -> None:
        with self._lock:
            # At the end they are counted already.
            counted = min(count, self._waiting)
            self._waiting -= counted
        if counted and not is_success:
            self._dropped("failed", counted)


class _CountedExport(SpanExporter):
    """Tells what became of each batch. It never raises, because the SDK would log the error itself."""

    def __init__(self, exporter: SpanExporter, exported: Callable[..., None]) -> None:
        self._exporter = exporter
        self._exported = exported
        self._is_ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        if not self._is_ended:
            with suppress(Exception):  # its text can contain credentials, and the SDK would log it
                result = self._exporter.export(spans)
        self._exported(len(spans), is_success=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._exporter.shutdown()


class _TrustingAdapter(HTTPAdapter):
    """Trusts the authorities of the network settings in addition to the library's own."""

    def __init__(self, network: Network) -> None:
        self._context = network.tls_context()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._context)


def _session(url: str, network: Network) -> requests.Session:
    session, proxy = requests.Session(), network.proxy_for(url)
    session.trust_env = False  # the network settings have the proxies of the environment already
    if proxy is not None:
        session.proxies = {"http": proxy, "https": proxy}
    session.mount("https://", _TrustingAdapter(network))
    session.hooks["response"].append(_refuse_redirect)
    return session


def _refuse_redirect(response: requests.Response, **_more: Any) -> None:
    """The exporter follows no redirect, and would take one for success.

    :raises TooManyRedirects: the collector has moved
    """
    if response.is_redirect:
        response.close()
        raise requests.TooManyRedirects("the collector has moved")
