"""The models of ``heartbeats:`` and ``deadman:``."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from router.channels.base import Duration, Section, secret_address
from router.config.fields import Matchers
from router.model import MINUTE, SECOND, Millis

_SHORTEST_EVERY: Millis = 10 * SECOND


def _within(within: Millis) -> Millis:
    if within < MINUTE:
        raise ValueError(
            "is too short; write 1m or more, and several times the repeat_interval of Alertmanager's route"
        )
    return within


def _silent_after(after: Millis) -> Millis:
    if 0 < after < MINUTE:
        raise ValueError("is too short; write 1m or more, or 0 to watch nothing")
    return after


def _every(every: Millis) -> Millis:
    if every < _SHORTEST_EVERY:
        raise ValueError("is too often; write 10s or more")
    return every


def _stuck_after(after: Millis) -> Millis:
    if after < MINUTE:
        raise ValueError("is too short; write 1m or more")
    return after


def _ping_url(secret: SecretStr) -> SecretStr:
    secret_address(
        secret, "is not a web address without a user in it; write it like https://hc-ping.com/<uuid>"
    )
    return secret


SilentAfter = Annotated[Duration, AfterValidator(_silent_after)]


class HeartbeatModel(Section):
    """An alert that must keep coming."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    matchers: Annotated[Matchers, Field(min_length=1)]
    source: str | None = None
    """The source that has to send it; without it, each source."""
    within: Annotated[Duration, AfterValidator(_within)] = 10 * MINUTE
    receiver: str | None = None
    """The receiver that is notified of its silence; without it, the operators, or whom the routes name."""


class DeadmanModel(Section):
    """The monitor outside that is pinged as long as the router works."""

    url: Annotated[SecretStr, AfterValidator(_ping_url)]
    """A secret, because it may hold a token."""
    every: Annotated[Duration, AfterValidator(_every)] = MINUTE
    method: Literal["GET", "POST"] = "GET"
    text: Annotated[str, Field(max_length=1_000)] | None = None
    """The body of a POST."""
    timeout: float = Field(default=10, gt=0, le=60)
    """Seconds for one ping; at most half of it to connect."""
    stuck_after: Annotated[Duration, AfterValidator(_stuck_after)] = 20 * MINUTE
    """How long a message may be due, while nothing reaches any destination, before no ping is sent. It is longer than
    alert_after of the channels, so that the alert about a broken destination can show that others work.
    """

    @model_validator(mode="after")
    def _text_is_posted(self) -> "DeadmanModel":
        if self.text is not None and self.method != "POST":
            raise ValueError("text is sent with a POST only; add method: POST, or leave text out")
        return self
