"""Writes a first routes.yaml from a few answers."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SecretPlace(StrEnum):
    """Where the file takes its secrets from."""

    ENV = "env"
    FILES = "files"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """What the file is to have."""

    channels: tuple[str, ...]
    """Names of :data:`CHANNELS`, at least one."""
    timezone: str = "UTC"
    hours: tuple[str, str] | None = ("09:00", "18:00")
    """The business hours from Monday to Friday; None: warnings are sent at any hour."""
    digest_at: str | None = "08:00"
    """When the daily digest is sent; only with email. None: there is none."""
    source: str | None = None
    """The name of a source with a token; None: only this machine may post."""
    user: str | None = None
    """The name of an administrator; None: only this machine may read and act."""
    slack_channel: str = ""
    """The id of a channel, with Slack."""
    email_to: tuple[str, ...] = ()
    """Addresses, at least one with email."""
    email_from: str = ""
    """An address, with email."""
    smarthost: str = "localhost:25"
    telegram_chat: str = ""
    """The number of a chat or its name, with Telegram."""
    secrets: SecretPlace = SecretPlace.ENV
    inline: Mapping[str, str] = field(default_factory=dict)
    """For :attr:`SecretPlace.INLINE`: the secrets by name."""


@dataclass(frozen=True, slots=True)
class NeededSecret:
    """A secret that routes.yaml needs."""

    name: str
    """Of the environment variable, or of the file in the folder ``secrets``."""
    what: str


_SECRETS = {
    "slack": NeededSecret("SLACK_BOT_TOKEN", "the token of your Slack app, which begins with xoxb-"),
    "pagerduty": NeededSecret("PAGERDUTY_ROUTING_KEY", "the integration key of a service, 32 characters"),
    "teams": NeededSecret("TEAMS_WEBHOOK_URL", "the URL of the workflow of a Teams channel"),
    "telegram": NeededSecret("TELEGRAM_BOT_TOKEN", "the token of your bot, of @BotFather"),
    "discord": NeededSecret("DISCORD_WEBHOOK_URL", "the URL of a webhook of a Discord channel"),
    "webhook": NeededSecret("HOOK_URL", "the URL of the program that takes webhooks of Alertmanager"),
}  # fmt: skip
_SOURCE = NeededSecret("WEBHOOK_TOKEN", "a random text that Alertmanager sends, such as `alert-router new-token` makes")  # fmt: skip
_USER = NeededSecret("ADMIN_PASSWORD_HASH", "the hash that `alert-router hash-password` prints")
CHANNELS = ("slack", "pagerduty", "email", "teams", "telegram", "discord", "webhook")
_PAGES_PEOPLE = "pagerduty"
"""The channel that wakes people: only critical alerts go there, if there is another one."""


def needed_secrets(answers: FirstAnswers) -> list[NeededSecret]:
    """Return the secrets that the file takes from elsewhere; with :attr:`SecretPlace.INLINE`, those that it contains."""
    found = [_SECRETS[name] for name in answers.channels if name in _SECRETS]
    return [*found, *[_SOURCE] * (answers.source is not None), *[_USER] * (answers.user is not None)]


def first_rules(answers: FirstAnswers) -> str:
    """Return the text of a routes.yaml."""
    return "\n".join([*_head(answers), *_channels(answers), *_receivers(answers), *_routes(answers)]) + "\n"


def _head(answers: FirstAnswers) -> Iterator[str]:
    yield "# Which receiver is notified of which alert, and when. Made by `alert-router init`."
    yield "# `alert-router docs configuration` describes every key. Check this file with `alert-router check`."
    yield "# Matchers, the route tree, time_intervals and inhibit_rules have the same meaning as in alertmanager.yml."
    yield ""
    yield f"timezone: {_quoted(answers.timezone)}"
    yield ""
    if answers.source is not None:
        yield "sources:  # who may post to /webhook"
        yield f"  - {{name: {_quoted(answers.source)}, bearer_token: {_secret(answers, _SOURCE)}}}"
        yield ""
    if answers.user is not None:
        yield "users:  # who may read the pages, and act"
        yield f"  - {{name: {_quoted(answers.user)}, role: admin, password_hash: {_secret(answers, _USER)}}}"
        yield ""


def _channels(answers: FirstAnswers) -> Iterator[str]:
    yield "channels:  # how to reach each provider; `alert-router docs channels` says how to get the credentials"
    for name in answers.channels:
        if name == "email":
            yield "  email:"
            yield f"    smarthost: {_quoted(answers.smarthost)}"
            yield f"    from: {_quoted(answers.email_from)}"
            yield "    # username: alerts"
            yield "    # password: ${SMTP_PASSWORD}"
            yield "    tls: none  # starttls (port 587) or implicit (port 465) if the server is another machine"
        elif name in {"slack", "telegram"}:
            yield f"  {name}: {{token: {_secret(answers, _SECRETS[name])}}}"
        else:
            yield f"  {name}: {{}}"
    yield ""


def _receivers(answers: FirstAnswers) -> Iterator[str]:
    yield "receivers:  # the destinations, by name"
    yield "  oncall:"
    for name in answers.channels:
        yield f"    - {_destination(answers, name)}"
    if others := _quiet(answers):
        yield "  team:"
        for name in others:
            yield f"    - {_destination(answers, name)}"
    if _has_digest(answers):
        yield "  daily:"
        yield f"    - digest: {{to: [{_addresses(answers)}], at: {_quoted(answers.digest_at or '')}}}"
    yield ""


def _routes(answers: FirstAnswers) -> Iterator[str]:
    team = "team" if _quiet(answers) else "oncall"
    if answers.hours is not None:
        begin, end = map(_quoted, answers.hours)
        yield "time_intervals:"
        yield "  - name: office"
        yield "    time_intervals:"
        yield '      - weekdays: ["monday:friday"]'
        yield f"        times: [{{start_time: {begin}, end_time: {end}}}]"
        yield f"        location: {_quoted(answers.timezone)}"
        yield "    # holidays: {country: DE, subdivision: BE}"
        yield ""
    yield "route:"
    yield f"  receiver: {team}  # for alerts that match no route below"
    yield "  routes:"
    yield "    - severity: critical"
    yield "      receiver: oncall"
    yield "    - severity: warning"
    yield f"      receiver: {team}"
    if answers.hours is not None:
        yield "      active_time_intervals: [office]"
        yield "      outside: hold  # until the hours begin; or drop, send"
    if _has_digest(answers):
        yield "    - severity: info"
        yield "      receiver: daily"
    yield ""
    yield "inhibit_rules:"
    yield "  - source_matchers: ['severity=\"critical\"']"
    yield "    target_matchers: ['severity=~\"warning|info\"']"
    yield "    equal: [alertname, cluster]"


def _quiet(answers: FirstAnswers) -> list[str]:
    return [name for name in answers.channels if name != _PAGES_PEOPLE]


def _has_digest(answers: FirstAnswers) -> bool:
    return answers.digest_at is not None and "email" in answers.channels


def _destination(answers: FirstAnswers, name: str) -> str:
    match name:
        case "slack":
            return f"slack: {{channel: {_quoted(answers.slack_channel)}}}"
        case "pagerduty":
            return f"pagerduty: {{routing_key: {_secret(answers, _SECRETS[name])}}}"
        case "email":
            return f"email: {{to: [{_addresses(answers)}]}}"
        case "telegram":
            return f"telegram: {{chat_id: {_chat(answers.telegram_chat)}}}"
        case "webhook":
            return f"webhook: {{url: {_secret(answers, _SECRETS[name])}, name: hook}}"
        case _:
            return f"{name}: {{webhook_url: {_secret(answers, _SECRETS[name])}, name: {name}}}"


def _addresses(answers: FirstAnswers) -> str:
    return ", ".join(map(_quoted, answers.email_to))


def _chat(chat: str) -> str:
    return chat if re.fullmatch(r"-?\d{1,18}", chat, re.ASCII) else _quoted(chat)


def _secret(answers: FirstAnswers, needed: NeededSecret) -> str:
    match answers.secrets:
        case SecretPlace.ENV:
            return f'"${{{needed.name}}}"'
        case SecretPlace.FILES:
            return f"{{file: secrets/{needed.name}}}"
        case SecretPlace.INLINE:
            return _quoted(answers.inline[needed.name])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
