"""Passes what it observes to Sentry and to the traces, whichever of them is configured."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import structlog

from router.core.accept import Receipt
from router.core.claimed_delivery import ClaimedDelivery
from router.decide import Policy
from router.model import Destination, Outcome, Webhook
from router.telemetry.recorder import DeliveryObserver, ReceiveObserver, Recorder
from router.telemetry.reported_facts import (
    DestinationNames,
    Facts,
    decision_counts,
    decision_sums,
    delivery_facts,
    is_failure,
    outcome_facts,
    webhook_facts,
)

if TYPE_CHECKING:  # their packages are only imported when they are configured
    from router.telemetry.alert_traces import AlertTraces, DeliverySpan, WebhookSpan
    from router.telemetry.sentry_reports import SentryReports

S = TypeVar("S")
P = ParamSpec("P")
log = structlog.get_logger(__name__)

DECISION, DELIVERY = "decision", "delivery"
"""The categories of breadcrumbs."""


def _harmless(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Let no error of an SDK reach the path of the alerts."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            log.exception("telemetry failed")

    return call


class LiveRecorder(Recorder):
    """The recorder while something is configured."""

    def __init__(self, reports: "SentryReports | None", traces: "AlertTraces | None") -> None:
        self.reports = reports
        self.traces = traces
        self.names = DestinationNames()

    def receive(self, headers: Mapping[str, str]) -> ReceiveObserver:
        try:
            return _LiveReceive(self, None if self.traces is None else self.traces.webhook(headers))
        except Exception:
            log.exception("telemetry failed")
            return super().receive(headers)

    def deliver(self, work: ClaimedDelivery, destination: Destination, policy: Policy) -> DeliveryObserver:
        try:
            facts = delivery_facts(work, destination, self.names, policy)
            return _LiveDelivery(
                self, facts, None if self.traces is None else self.traces.delivery(work, facts)
            )
        except Exception:
            log.exception("telemetry failed")
            return super().deliver(work, destination, policy)

    def error(self, action: str, logger: str, error: BaseException) -> None:
        if self.reports is not None:
            with suppress(Exception):  # logging it would call this again
                self.reports.report(action, logger, error)

    def add_breadcrumb(self, category: str, facts: Facts) -> None:
        if self.reports is not None:
            self.reports.add(category, facts)

    def close(self, within: float) -> None:
        """Send what waits, for at most this time (seconds). It blocks: call it in a thread."""
        for each in (self.traces, self.reports):
            if each is not None:
                each.close(within / 2)


class _LiveReceive(ReceiveObserver):
    __slots__ = ("_recorder", "_span")

    def __init__(self, recorder: LiveRecorder, span: "WebhookSpan | None") -> None:
        self._recorder, self._span = recorder, span

    @_harmless
    def deciding(self) -> None:
        if self._span is not None:
            self._span.deciding()

    @_harmless
    def decided(self, webhook: Webhook, source: str, receipt: Receipt, policy: Policy) -> None:
        facts, sums = webhook_facts(webhook, source, receipt.webhook), decision_sums(receipt)
        if self._span is not None:
            self._span.decided(sums, decision_counts(receipt, self._recorder.names, policy))
            self._span.stored(webhook, source, facts)
        self._recorder.add_breadcrumb(DECISION, {**facts, **sums})

    @_harmless
    def kept(self, webhook: Webhook, source: str, number: int) -> None:
        facts = {**webhook_facts(webhook, source, number), "undecided": True}
        if self._span is not None:
            self._span.stored(webhook, source, facts)
        self._recorder.add_breadcrumb(DECISION, facts)

    @_harmless
    def answered(self, status: int) -> None:
        if self._span is not None:
            self._span.answered(status)


class _LiveDelivery(DeliveryObserver):
    __slots__ = ("_facts", "_recorder", "_span")

    def __init__(self, recorder: LiveRecorder, facts: Facts, span: "DeliverySpan | None") -> None:
        self._recorder, self._facts, self._span = recorder, facts, span

    @contextmanager
    def sending(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._span is not None:
                try:
                    stack.enter_context(self._span.sending())
                except Exception:
                    log.exception("telemetry failed")
            yield

    @_harmless
    def ended(self, outcome: Outcome | None) -> None:
        facts = outcome_facts(outcome)
        if self._span is not None:
            self._span.ended(facts, is_failure=is_failure(outcome))
        self._recorder.add_breadcrumb(DELIVERY, {**self._facts, **facts})
