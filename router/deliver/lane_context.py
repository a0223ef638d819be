"""What all deliveries share, and the configuration by which they work."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from router.channels.base import Channel
from router.clock import Clock
from router.core.head import Grant
from router.decide import Policy
from router.deliver.self_alerts import SelfAlerts
from router.metrics import Metrics
from router.model import Millis, SharedLimits
from router.render import Templates
from router.store import Store
from router.telemetry import Telemetry
from router.threads import Threads


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The rules, templates and channels in force; replaced as a whole."""

    policy: Policy
    templates: Templates
    channels: Mapping[str, Channel]
    """The open channels, by name."""
    give_up_after: Mapping[str, Millis]
    """By channel name: how long a delivery is retried (ms); 0: without end."""
    alert_after: Mapping[str, Millis] = field(default_factory=dict)
    """By channel name: after how long without a successful delivery a destination is reported (ms); 0: never."""
    shared: Mapping[str, SharedLimits] = field(default_factory=dict)
    """The limits that destinations share, by section of ``channels:``."""


@dataclass(frozen=True, slots=True)
class LaneContext:
    """Shared by the deliveries of all lanes."""

    store: Store
    clock: Clock
    metrics: Metrics
    current: Callable[[], RuntimeConfig]
    self_alerts: SelfAlerts
    send_seconds: float
    """The time limit of one attempt (seconds)."""
    counting_since: Callable[[], Awaitable[Millis]]
    """Returns since when time has passed without a step of the clock (epoch ms). A step must not make anything overdue."""
    render_threads: Threads
    wake: Callable[[Iterable[str]], None]
    """Looks at the lanes of these destinations, because something may be due there."""
    recorded: Callable[[str], None]
    """Is called with the key of a destination after an outcome there is stored."""
    stopping: asyncio.Event
    may_use: Callable[[Grant | None], bool]
    """Returns whether this process may still send by the grant of a lane. Any thread may call it."""
    telemetry: Telemetry
    """Observes deliveries, for Sentry and for traces."""
