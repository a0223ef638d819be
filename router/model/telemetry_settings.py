"""Where the router reports its own errors and its traces. routes.yaml sets it, see ``docs/telemetry.md``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SAMPLE_RATE = 0.2
"""The share of the traces that are sent, unless routes.yaml sets another one."""


@dataclass(frozen=True, slots=True)
class SentrySettings:
    """The section ``sentry:``."""

    dsn: str = field(repr=False)
    environment: str
    release: str
    sample_rate: float = 1.0
    """The share of the errors that are sent, from 0 to 1."""
    server_name: str = ""
    """The name of this router; empty: none is sent."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """The section ``tracing:``."""

    url: str
    """Takes the spans as protobuf, such as ``http://127.0.0.1:4318/v1/traces``."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of each request to the collector. They are secrets."""
    sample_rate: float = SAMPLE_RATE
    """The share of the traces that are sent, from 0 to 1. The sender's decision counts instead, if it made one."""
    resource: Mapping[str, str] = field(default_factory=dict)
    """The attributes that describe this service, ``service.name`` included."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Both sections. None: the section is not in routes.yaml."""

    sentry: SentrySettings | None = None
    tracing: TracingSettings | None = None
