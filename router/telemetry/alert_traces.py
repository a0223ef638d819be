"""Makes the spans of a trace from a webhook to its deliveries.

A delivery can follow its webhook after days, and one delivery can report what several webhooks brought. So it is a child
of the newest of those webhooks, and has links to the others.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.core.claimed_delivery import ClaimedDelivery
from router.model import TracingSettings, Webhook
from router.network import Network
from router.telemetry.reported_facts import DecisionCount, Facts
from router.telemetry.span_export import SpanExport
from router.telemetry.trace_origins import TraceOrigins
from router.trace_headers import TRACE_HEADERS

_MAX_LINKS = 32
_PREFIX = "alert_router."
# The names of OpenTelemetry's semantic conventions: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
_METHOD, _ROUTE, _STATUS = "http.request.method", "http.route", "http.response.status_code"
_SERVER_ERROR = 500

_propagator = TraceContextTextMapPropagator()


class AlertTraces:
    """Begins the spans of webhooks and deliveries."""

    def __init__(
        self, settings: TracingSettings, network: Network, version: str, dropped: Callable[[str, int], None]
    ) -> None:
        self._export = SpanExport(settings, network, dropped)
        self._tracer = self._export.provider.get_tracer("alert-router", version)
        self._origins: TraceOrigins[SpanContext] = TraceOrigins()

    def webhook(self, headers: Mapping[str, str]) -> "WebhookSpan":
        """Begin the span of a request, within the trace of its sender if the request names one."""
        return WebhookSpan(self, headers)

    def delivery(self, work: ClaimedDelivery, facts: Facts) -> "DeliverySpan":
        return DeliverySpan(self, work, facts)

    def begin(
        self, name: str, kind: SpanKind, context: Context, facts: Facts, links: tuple[Link, ...] = ()
    ) -> Span:
        return self._tracer.start_span(name, context, kind, _attributes(facts), links)

    def remember(self, webhook: Webhook, source: str, span: Span) -> None:
        self._origins.add(webhook, source, span.get_span_context())

    def origins(self, work: ClaimedDelivery) -> tuple[SpanContext, ...]:
        return self._origins.of(work)

    def close(self, within: float) -> None:
        """See :meth:`SpanExport.close`."""
        self._export.close(within)


class WebhookSpan:
    """The span of a request with a webhook, and within it the span of the decision."""

    def __init__(self, traces: AlertTraces, headers: Mapping[str, str]) -> None:
        self._traces = traces
        sender = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        context = _propagator.extract(sender, Context())
        self._span = traces.begin("POST /webhook", SpanKind.SERVER, context, {})
        self._span.set_attributes({_METHOD: "POST", _ROUTE: "/webhook"})
        self._deciding: Span | None = None

    def deciding(self) -> None:
        context = set_span_in_context(self._span, Context())
        self._deciding = self._traces.begin("decide", SpanKind.INTERNAL, context, {})

    def decided(self, sums: Facts, counts: tuple[DecisionCount, ...]) -> None:
        if self._deciding is not None:
            self._deciding.set_attributes(_attributes(sums))
            for each in counts:
                self._deciding.add_event("decision", _attributes(each.facts))
        self._end_decision()

    def stored(self, webhook: Webhook, source: str, facts: Facts) -> None:
        self._span.set_attributes(_attributes(facts))
        self._traces.remember(webhook, source, self._span)
        self._end_decision()

    def answered(self, status: int) -> None:
        """:param status: of the answer; 0: there was none"""
        self._end_decision()
        if status:
            self._span.set_attribute(_STATUS, status)
        if not status or status >= _SERVER_ERROR:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _end_decision(self) -> None:
        if self._deciding is not None:
            self._deciding.end()
            self._deciding = None


class DeliverySpan:
    """The span of a delivery, and within it the span of each time that the channel sends."""

    def __init__(self, traces: AlertTraces, work: ClaimedDelivery, facts: Facts) -> None:
        self._traces, self._channel = traces, facts["channel"]
        parent, links = _causes(traces.origins(work))
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        self._span = traces.begin(f"deliver {self._channel}", SpanKind.PRODUCER, context, facts, links)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send within this context: what the channel requests can carry the trace on."""
        context = set_span_in_context(self._span, Context())
        span = self._traces.begin(f"send {self._channel}", SpanKind.CLIENT, context, {})
        headers: dict[str, str] = {}
        _propagator.inject(headers, set_span_in_context(span, Context()))
        token = TRACE_HEADERS.set(headers)
        try:
            yield
        finally:
            TRACE_HEADERS.reset(token)
            span.end()

    def ended(self, facts: Facts, *, is_failure: bool) -> None:
        self._span.set_attributes(_attributes(facts))
        if is_failure:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _causes(origins: tuple[SpanContext, ...]) -> tuple[SpanContext | None, tuple[Link, ...]]:
    """Return the parent of a delivery and the links to the other webhooks. A webhook whose trace is sent comes before
    one whose trace is not.
    """
    if not origins:
        return None, ()
    parent = next((each for each in reversed(origins) if each.trace_flags.sampled), origins[-1])
    others = [each for each in origins if each is not parent]
    return parent, tuple(Link(each) for each in others[-_MAX_LINKS:])


def _attributes(facts: Facts) -> Facts:
    return {f"{_PREFIX}{name}": value for name, value in facts.items()}
