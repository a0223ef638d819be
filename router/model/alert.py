"""What a sender reports: a webhook with its alerts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from router.model.millis import Millis

Labels = Mapping[str, str]

OWN_SOURCE = "alert-router"
"""The source of the alerts that the router raises about itself."""


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Change(StrEnum):
    """The kind of a change: the accepted report says that the alert fired, that it resolved, or only what was known
    before.
    """

    FIRED = "fired"
    RESOLVED = "resolved"
    REPEATED = "repeated"


def identity_of(labels: Labels) -> str:
    """Return the identity of an alert within its source: a hash of the label set, 32 hex digits.

    A label with an empty value counts as absent, as in Prometheus. The sender's fingerprint is not used: senders other
    than Alertmanager give the same fingerprint to several label sets.
    """
    texts: list[str] = []
    for name in sorted(labels):
        if value := labels[name]:
            texts += (name, value)
    # No byte of UTF-8 is 0xff.
    encoded = b"\xff".join([text.encode(errors="surrogatepass") for text in texts])
    return hashlib.sha256(encoded).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as a sender reports it. ``starts_at``/``ends_at``: None if absent, or Go's zero time."""

    fingerprint: str
    """The sender's fingerprint, for display and links only; see :attr:`identity`."""
    labels: Labels
    annotations: Labels
    status: Status
    starts_at: Millis | None = None
    ends_at: Millis | None = None
    generator_url: str = ""
    links: Labels = field(default_factory=dict)
    """More URLs of the sender (Grafana): dashboard, panel, silence, image."""
    note: str = ""
    """Why it counts as ended although no sender resolved it."""
    about: frozenset[str] | None = None
    """For a self-alert: the keys of the destinations that cannot be notified, and so do not get it. None: a sender's
    alert, whatever its labels are."""
    fires_until: Millis | None = None
    """The sender gave no status, only this future end: the alert ends then, unless it is reported again before."""
    values: str = ""
    """What its sender measured (Grafana), like ``A=1.2, B=3``; see :func:`router.grafana_values.values_of`."""
    _identity: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """See :func:`identity_of`. An alert without labels is known by its fingerprint. Computed once."""
        if self._identity is None:
            object.__setattr__(self, "_identity", identity_of(self.labels or {"": self.fingerprint}))
        return self._identity or ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One accepted POST: an alert group with its alerts."""

    receiver: str
    group_key: str
    group_labels: Labels
    external_url: str
    truncated: int
    """How many alerts of the group Alertmanager left out (``max_alerts``)."""
    alerts: tuple[Alert, ...]
    oddities: tuple[str, ...] = ()
    """What could not be used in the body, as text; the body is then also kept in quarantine."""
    sender: str = ""
    """The address that posted it. The peers of an HA pair may share one external URL."""
