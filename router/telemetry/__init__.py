"""Reports to Sentry and to an OpenTelemetry collector, if routes.yaml has the sections ``sentry:`` or ``tracing:``.

Only this package uses their SDKs, which are the extras ``alert-router[sentry]`` and ``alert-router[otel]``. They are
imported when a section is in force.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from router.clock import Clock
from router.core.claimed_delivery import ClaimedDelivery
from router.decide import Policy
from router.model import Destination, TelemetrySettings
from router.network import DIRECT, Network
from router.telemetry.live_recorder import LiveRecorder
from router.telemetry.recorder import DeliveryObserver, ReceiveObserver, Recorder
from router.threads import Threads

log = structlog.get_logger(__name__)

# How long the reports of a section that changed may still be sent (seconds).
_CHANGE_SECONDS = 5.0
# How much longer the end waits for the thread that sends (seconds).
_EXTRA_SECONDS = 0.2
_OFF = Recorder()


class Telemetry:
    """The recorder in force. Without a section, and until :meth:`apply`, it records nothing."""

    def __init__(
        self, clock: Clock | None = None, version: str = "",
        dropped: Callable[[str, str, int], None] = lambda _kind, _reason, _count: None,
    ) -> None:  # fmt: skip
        """:param clock: None: nothing will be configured
        :param dropped: is called with the kind (``error`` or ``span``), the reason (``full`` or ``failed``), and how
            many were lost; from any thread
        """
        self._clock = clock
        self._version = version
        self._dropped = dropped
        self._recorder = _OFF
        self._in_force: tuple[TelemetrySettings, Network] = (TelemetrySettings(), DIRECT)
        self._threads = Threads("telemetry", 1)

    def receive(self, headers: Mapping[str, str]) -> ReceiveObserver:
        """See :meth:`Recorder.receive`."""
        return self._recorder.receive(headers)

    def deliver(self, work: ClaimedDelivery, destination: Destination, policy: Policy) -> DeliveryObserver:
        """See :meth:`Recorder.deliver`."""
        return self._recorder.deliver(work, destination, policy)

    def error(self, action: str, logger: str, error: BaseException) -> None:
        """See :meth:`Recorder.error`."""
        self._recorder.error(action, logger, error)

    async def apply(self, settings: TelemetrySettings, network: Network) -> None:
        """Put settings in force. What the ones before still have to send is sent in the background. Raises nothing:
        if the reports can't begin, the router works without them, and the log says why.
        """
        if (settings, network) == self._in_force:
            return
        before, self._recorder = self._recorder, _OFF
        self._in_force = settings, network
        if isinstance(before, LiveRecorder):
            self._threads.submit(before.close, _CHANGE_SECONDS)
        if settings == TelemetrySettings():
            return
        try:
            self._recorder = await self._threads.run(self._made, settings, network)
        except Exception:
            log.exception("telemetry can't begin")

    async def close(self, within: float = math.inf) -> None:
        """Send what waits, for at most this time (seconds), and end."""
        before, self._recorder = self._recorder, _OFF
        if isinstance(before, LiveRecorder):
            within = min(within, _CHANGE_SECONDS)
            with suppress(TimeoutError):  # a section that changed just before is still being sent
                async with asyncio.timeout(within + _EXTRA_SECONDS):
                    await self._threads.run(before.close, within)
        self._threads.shutdown()

    def _made(self, settings: TelemetrySettings, network: Network) -> Recorder:
        """Return the recorder of some settings. It imports the SDKs, which takes some tenths of a second."""
        reports = traces = None
        assert self._clock is not None  # noqa: S101  (narrows the type)
        if settings.sentry is not None:
            from router.telemetry.sentry_reports import SentryReports

            reports = SentryReports(
                settings.sentry, network, self._clock.now, lambda reason: self._dropped("error", reason, 1)
            )
        if settings.tracing is not None:
            from router.telemetry.alert_traces import AlertTraces

            traces = AlertTraces(
                settings.tracing, network, self._version,
                lambda reason, count: self._dropped("span", reason, count),
            )  # fmt: skip
        return LiveRecorder(reports, traces)


__all__ = ["DeliveryObserver", "ReceiveObserver", "Telemetry"]
