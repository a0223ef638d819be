"""Renders the messages that the destinations of a receiver would get, without sending them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from router.channels import REGISTRY, Channel, ChannelSpec
from router.channels.outbox import Entry, entry_of
from router.config import Config, ConfigError
from router.config.problems import did_you_mean
from router.decide import Severity
from router.model import (
    DAY,
    Alert,
    Conversation,
    Destination,
    DigestLine,
    DigestView,
    Millis,
    ShownAlert,
    Status,
    Webhook,
)
from router.parse import ParseError, parse_webhook
from router.render import Templates
from router.render.samples import sample_conversations
from router.rules.inputs import read_json_or_yaml
from router.rules.moments import InputError

# The samples that are worth looking at. The others are for the dry run of templates.
_SHOWN_SAMPLES = ("plain", "ended", "storm", "storm that is over", "digest")
_TOKEN = "0" * 32


@dataclass(frozen=True, slots=True)
class ReceiverMessage:
    """What one destination gets for one conversation."""

    destination: Destination
    about: str
    """The name of the sample; empty: the alerts were given."""
    entry: Entry | None
    """None: no message is sent, see :attr:`why_none`."""
    why_none: str = ""


def webhook_of(data: bytes, now: Millis) -> Webhook:
    """Return the webhook of a file: a webhook's body, a list of alerts, or one alert; as JSON or YAML.

    :raises InputError: it is none of these
    """
    try:
        found = read_json_or_yaml(data)
    except ConfigError as error:
        first = error.errors[0]
        raise InputError(f"line {first.line}, column {first.column}: {first.what}; {first.todo}") from None
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    if isinstance(found, Mapping) and "alerts" not in found:
        if not isinstance(found.get("labels"), Mapping):
            todo = "give the JSON that Alertmanager posts, or one alert with `labels`"
            raise InputError(f"it is not a webhook's body, and not an alert; {todo}")
        name = found["labels"].get("alertname")
        found = {"alerts": [found], "groupLabels": {"alertname": name} if name else {}}
    elif isinstance(found, list):
        found = {"alerts": found}
    try:
        return parse_webhook(json.dumps(found, default=str).encode(), now)
    except ParseError as error:
        raise InputError(f"it can't be read: {error}") from None


class ReceiverRenderer:
    """Renders the messages of a receiver.

    :raises InputError: the rules have no receiver of this name
    """

    def __init__(self, config: Config, receiver: str, templates: Templates) -> None:
        receivers = config.policy.receivers
        if receiver not in receivers:
            todo = did_you_mean(receiver, receivers, "the receivers are")
            raise InputError(f"there is no receiver {receiver!r}; {todo}")
        self._destinations = receivers[receiver]
        self._config = config
        self._templates = templates
        self._severity = config.policy.severity
        self._channels: dict[str, Channel] = {}

    def of_webhook(self, webhook: Webhook, now: Millis, status: Status | None) -> list[ReceiverMessage]:
        """Return the messages for a webhook.

        :param now: the time of the messages, and of the ends that the webhook does not give
        :param status: of all alerts; None: as the webhook says
        """
        alerts = [_with_status(alert, status, now) for alert in webhook.alerts]
        if not alerts:
            raise InputError("it has no alerts, so no message is sent")
        return [
            self._message(destination, conversation, "")
            for destination in self._destinations
            for conversation in _conversations(destination, webhook, alerts, self._severity, now)
        ]

    def of_samples(self, status: Status | None) -> list[ReceiverMessage]:
        """Return the messages for the built-in samples that a destination can get.

        :param status: only those of messages with this status; None: all
        """
        samples = sample_conversations(self._severity.levels)
        return [
            self._message(destination, samples[name], name)
            for destination in self._destinations
            for name in _SHOWN_SAMPLES
            if _is_for(samples[name], destination, status)
        ]

    def _message(self, destination: Destination, conversation: Conversation, about: str) -> ReceiverMessage:
        is_end = not destination.digest and conversation.storm is None and conversation.over
        if is_end and not destination.send_resolved:
            why = "no message is sent when alerts end: send_resolved is off"
            return ReceiverMessage(destination, about, None, why)
        channel, spec = self._channel(destination), REGISTRY[destination.channel]
        earlier: list[Entry] = []
        if is_end:  # an end follows a message that said what fires
            begun = replace(conversation, alerts=tuple(map(_as_firing, conversation.alerts)), remote={})
            earlier.append(self._entry(channel, destination, begun))
            remote = {**spec.remote_after(earlier[0].body), "preview": True}
            conversation = replace(conversation, remote=remote, version=conversation.version + 1)
        entry = self._entry(channel, destination, conversation)
        if spec.updates:
            bodies = tuple((before.updated_at, before.body) for before in earlier)
            entry = replace(entry, earlier=bodies, updates=len(bodies))
        return ReceiverMessage(destination, about, entry)

    def _entry(self, channel: Channel, destination: Destination, conversation: Conversation) -> Entry:
        return entry_of(
            1, destination, conversation, channel.render(destination, conversation, self._templates)
        )

    def _channel(self, destination: Destination) -> Channel:
        name = destination.channel
        if name not in self._channels:
            spec: ChannelSpec = REGISTRY[name]
            self._channels[name] = spec.make(self._config.settings[spec.section], self._config.network)
        return self._channels[name]


def _conversations(
    destination: Destination, webhook: Webhook, alerts: list[Alert], severity: Severity, now: Millis
) -> Iterator[Conversation]:
    """Yield the conversations that a destination has about the alerts of a webhook."""
    base = Conversation(
        destination.key, _TOKEN, episode=1, version=1, now=now, receiver=webhook.receiver, revision=_TOKEN,
        group_labels=webhook.group_labels, external_url=webhook.external_url, truncated=webhook.truncated,
    )  # fmt: skip
    levels = [severity.of(alert.labels)[0] for alert in alerts]
    if destination.digest:
        lines = [DigestLine(alert, level, 1) for alert, level in zip(alerts, levels, strict=True)]
        firing = tuple(line for line in lines if line.alert.status is Status.FIRING)
        ended = tuple(line for line in lines if line.alert.status is Status.RESOLVED)
        yield replace(base, digest=DigestView(now - DAY, now, firing, ended))
        return
    shown = [ShownAlert(alert, level, news=True) for alert, level in zip(alerts, levels, strict=True)]
    if not destination.per_alert:
        yield replace(base, alerts=tuple(shown))
        return
    for each in shown:
        yield replace(base, alerts=(each,), token=each.alert.identity)


def _with_status(alert: Alert, status: Status | None, now: Millis) -> Alert:
    match status:
        case Status.FIRING:
            return replace(alert, status=status, ends_at=None)
        case Status.RESOLVED:
            return replace(alert, status=status, ends_at=alert.ends_at or now)
    return alert


def _as_firing(shown: ShownAlert) -> ShownAlert:
    return replace(shown, alert=replace(shown.alert, status=Status.FIRING, ends_at=None))


def _is_for(sample: Conversation, destination: Destination, status: Status | None) -> bool:
    """Return whether a destination can get a sample, and whether the sample has the status."""
    if destination.digest or sample.digest is not None:
        return destination.digest and sample.digest is not None
    if sample.storm is not None and REGISTRY[destination.channel].storm_every is None:
        return False
    is_over = sample.storm.over if sample.storm is not None else sample.over
    return status is None or (status is Status.RESOLVED) is is_over
