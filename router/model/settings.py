"""What routes.yaml sets in addition to the rules: the senders, how long data is kept, and the files themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from router.model.millis import DAY, MINUTE, Millis


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Where the router can ask for the alerts of a source."""

    urls: tuple[str, ...]
    """The URLs of all peers of the cluster."""
    every: Millis = MINUTE
    """How often the peers are asked."""
    gone_after: Millis = 5 * MINUTE
    """How long an alert has to be missing from the answers before it counts as gone."""
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


DEFAULT_SOURCE = "default"
"""The source of all webhooks if routes.yaml names no sources."""


@dataclass(frozen=True, slots=True)
class Source:
    """A sender that is allowed to post webhooks. Without credentials, it is allowed to post from a loopback address only."""

    name: str
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)
    """A bcrypt hash in place of the password."""
    alertmanager: Alertmanager | None = None
    """None: no Alertmanager is asked about its alerts."""
    silent_after: Millis = 0
    """After how long without an accepted webhook it is reported as silent (ms); 0: never."""
    silent_receiver: str | None = None
    """The receiver that is notified of its silence; None: the operators, or whom the routes name."""

    @property
    def has_credentials(self) -> bool:
        return (self.bearer_token, self.password, self.password_hash) != (None, None, None)


@dataclass(frozen=True, slots=True)
class DeadmanSettings:
    """The monitor outside that is pinged as long as the router works."""

    url: str = field(repr=False)
    """A secret, because it may hold a token."""
    every: Millis = MINUTE
    method: str = "GET"
    text: str = ""
    """The body of a POST."""
    timeout: float = 10
    """Seconds for one ping."""
    stuck_after: Millis = 20 * MINUTE
    """How long a message may be due, while nothing reaches any destination, before no ping is sent (ms)."""


class Role(IntEnum):
    """What somebody may do. Each role may do all that the one before it may."""

    VIEW = 1
    """Read everything."""
    OPERATE = 2
    """Retry, discard, resume, pause, test, and settle quarantined bodies."""
    ADMIN = 3
    """Load the rules again."""

    @property
    def word(self) -> str:
        """Its name in routes.yaml and on pages: ``view``, ``operate`` or ``admin``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished data is kept, and how much of the quarantine."""

    history: Millis = 30 * DAY
    webhooks: Millis = 7 * DAY
    """The bodies of accepted webhooks."""
    messages: Millis = 7 * DAY
    """The messages that deliveries sent."""
    quarantine_rows: int = 10_000
    """The most quarantined bodies. Beyond it, the oldest ones are dropped."""
    quarantine_bytes: int = 2**30
    """The most bytes of quarantined bodies. Beyond it, the oldest ones are dropped."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The files that the rules were read from."""

    sha256: str = ""
    """Hex digest of all files in force; empty: the rules were read from no file."""
    positions: Mapping[str, str] = field(default_factory=dict)
    """The position of each rule (``file:line``), by its name in decisions."""

    @property
    def id(self) -> int | None:
        """The id in the store; None: there is no file. It is made of the hash, so no table has to be read."""
        return int(self.sha256[:12], 16) if self.sha256 else None
