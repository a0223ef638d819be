"""Discord: a message a conversation, posted through a channel's webhook and edited as it changes."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import aiohttp
from pydantic import AfterValidator, Field, SecretStr

from router.channels.base import ChannelSettings, Kind, Options
from router.model import (
    HOUR,
    SECOND,
    Conversation,
    Delivered,
    Destination,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retry,
)
from router.render import TemplateError, Templates
from router.render.view import AlertView
from router.render.words import clean, clip, line

# https://docs.discord.com/developers/resources/webhook#execute-webhook
CONTENT = 2_000
# https://docs.discord.com/developers/resources/message#embed-object-embed-limits: we make one embed of the 10
# and two fields of the 25, and stay far below the 256 characters of their names and the 2,048 of the footer.
TITLE = 256
DESCRIPTION = 4_096
FIELD_VALUE = 1_024
TOTAL = 6_000

# Shares of the total for what stands once, so that there is always room for alerts.
_HEADLINE, _SUMMARY, _CONTEXT = 300, 1_500, 500
_ALERT = 600  # and no alert takes it all
_MORE = 60  # room for the line that counts the rest

# Red, amber, blue and green, told apart in light and dark.
_MOST_URGENT, _MIDDLE, _LEAST_URGENT, _RESOLVED = 0xD5303E, 0xE8912D, 0x3A7BD5, 0x2EB67D

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
# A code in none of these means: try again.
DESTINATION_BROKEN = frozenset({10003, 10015, 50001, 50013, 50027, 220001})
PAYLOAD_BROKEN = frozenset({50006, 50035, 50109})
MESSAGE_GONE = frozenset({10008, 50005})
_WORDS = {  # of codes, and of statuses without one
    10003: "unknown channel", 10008: "unknown message", 10015: "unknown webhook", 30046: "too many edits of old messages",
    50001: "missing access", 50005: "message of another author", 50006: "empty message", 50013: "missing permissions",
    50027: "invalid webhook token", 50035: "invalid form body", 50109: "invalid JSON",
    220001: "a forum, which takes no plain message",
    **dict.fromkeys(range(300, 400), "redirect, not followed"),
}  # fmt: skip
# Without a code it is not Discord that speaks, and the status alone counts.
_REFUSED = frozenset({400, 413, 415, 422})

# What goes wrong before there is an answer, and whether the message may have arrived all the same; the first
# that fits counts.
_FAULTS: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.ConnectionTimeoutError, "connect timeout", False),
    (TimeoutError, "timeout", True),
    (aiohttp.ClientSSLError, "tls failed", False),
    (aiohttp.ClientProxyConnectionError, "proxy failed", False),
    (aiohttp.ClientHttpProxyError, "proxy failed", False),
    (aiohttp.ClientConnectorError, "connection failed", False),
    (aiohttp.InvalidURL, "no web address", False),
    (aiohttp.ClientResponseError, "bad answer", True),
    (Exception, "connection failed", True),
)
_TIMEOUT_SECONDS = 10
_LIMITED = "ratelimited"
_EVERYWHERE = ""  # in place of a webhook's id: the limit is of this address as a whole

_WEBHOOK = re.compile(r"https?://[^\s/?#@]+(?:/[^\s/?#]+)*/webhooks/(\d{1,20})/([\w-]+)/?", re.ASCII)
# What stands for a secret that isn't there, in a check and in the preview; no address looks like it.
_PLACEHOLDER = re.compile(r"[^\s:/]{32}")
# https://support.discord.com/hc/en-us/articles/210298617: what marks text up, or looks like a mention. An
# address is no place for either, and a backslash would break it.
_MARKUP = re.compile(r"((?<!\w)https?://[^\s<]+)|[\\*_~`|<>\[\]#@]")
# An address stands between these where text is linked.
_LINKED = {ord(char): f"%{ord(char):02X}" for char in "()<>[]\\"}


def _webhook_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not _PLACEHOLDER.fullmatch(text) and not _WEBHOOK.fullmatch(text):
        raise ValueError("is no Discord webhook; copy its URL under Integrations in the channel's settings")
    return secret


class Settings(ChannelSettings):
    """``channels.discord``"""

    # https://docs.discord.com/developers/reference#api-versioning
    api_url: str = "https://discord.com/api/v10"
    """Or that of a compatible server."""


class DiscordOptions(Options):
    """``- discord: {…}`` of a receiver."""

    webhook_url: Annotated[SecretStr, AfterValidator(_webhook_url)]
    """https://discord.com/api/webhooks/ID/TOKEN: whoever has it can post."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise the webhook's ID does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the webhook is enough)
        return f"discord:{self.name or self.webhook[0]}"

    @property
    def webhook(self) -> tuple[str, str]:
        """Its ID and its token. Made up where the configuration is."""
        url = self.webhook_url.get_secret_value()
        found = _WEBHOOK.fullmatch(url)
        return (found[1], found[2]) if found else (hashlib.sha256(url.encode()).hexdigest()[:8], "")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    code: int
    """Discord's own; 0 without one."""
    message: str
    """The id of the message that it is about."""
    wait: Millis | None
    """Until the next request, if there is to be a pause."""
    everywhere: bool
    """The pause is not this webhook's alone."""

    @property
    def refuses_payload(self) -> bool:
        return self.code in PAYLOAD_BROKEN or (self.code == 0 and self.status in _REFUSED)


class Discord:
    def __init__(self, settings: Settings, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """:param timeout: of one request, in seconds; to connect may take half of it"""
        self._api = settings.api_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)
        self._session: aiohttp.ClientSession | None = None
        self._free_at: dict[str, Millis] = {}
        """By webhook id: until when Discord wants no request."""

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        values = templates.values(conversation, escape)
        try:
            return Message("discord", _layout(conversation, templates, values))
        except TemplateError:
            return Message("discord", _plain(values), fallback=True)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        webhook, token = destination.options.webhook
        now = conversation.now
        free_at = max(self._free_at.get(webhook, 0), self._free_at.get(_EVERYWHERE, 0))
        if free_at > now:
            return Retry(_LIMITED, after=free_at - now, pause=True)
        place = f"{self._api}/webhooks/{webhook}/{token}"
        known = conversation.remote.get("message")
        try:
            answer = await self._tell("PATCH", f"{place}/messages/{known}", message.body) if known else None
            if answer is None or answer.code in MESSAGE_GONE:
                answer = await self._tell("POST", f"{place}?wait=true", message.body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _unreachable(error)
        if answer.wait is not None:
            self._free_at[_EVERYWHERE if answer.everywhere else webhook] = now + answer.wait
        return _outcome(answer)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _tell(self, method: str, url: str, body: Mapping[str, Any]) -> _Answer:
        """An embed that Discord refuses is sent as text, in the same attempt: the alert counts."""
        quiet = {"allowed_mentions": body["allowed_mentions"]}
        whole = {"content": body["content"], "embeds": body["embeds"], **quiet}
        answer = await self._call(method, url, whole)
        if answer.refuses_payload and body["embeds"]:
            answer = await self._call(method, url, {"content": body["plain"], "embeds": [], **quiet})
        return answer

    async def _call(self, method: str, url: str, body: Mapping[str, Any]) -> _Answer:
        async with self._connected().request(method, url, json=body, allow_redirects=False) as response:
            return _read(response.status, response.headers, await response.read())

    def _connected(self) -> aiohttp.ClientSession:
        """Made on first use: a session belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "alert-router"},
            )  # fmt: skip
        return self._session


def escape(text: str) -> str:
    """Text without markup and without mentions; addresses stay as they are.

    https://support.discord.com/hc/en-us/articles/210298617
    """
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[0]}", clean(text))


def _layout(conversation: Conversation, templates: Templates, values: Mapping[str, Any]) -> dict[str, Any]:
    def words(block: str, limit: int, values: Mapping[str, Any] = values) -> str:
        # Where an escape is cut in half, it escapes the ellipsis, which shows as itself.
        return clip(re.sub(r"\n{3,}", "\n\n", templates.render("discord.j2", block, values)), limit)

    alerts: list[AlertView] = values["alerts"]
    bare = templates.values(conversation)  # for what Discord shows as it stands
    text = line(words("text", _HEADLINE))
    title, summary = line(words("title", TITLE)), words("summary", _SUMMARY)
    footer = line(words("footer", _CONTEXT, bare))
    fields = _fields(Labels=words("labels", FIELD_VALUE), Links=_links(bare["links"]))
    spent = len(title) + len(footer) + sum(len(each["name"] + each["value"]) for each in fields)
    room = min(DESCRIPTION, TOTAL - spent) - len(summary) - 2
    rows = _fitting((words("alert", _ALERT, {**values, "alert": alert}) for alert in alerts), room)
    embed = {
        "title": title,
        "description": "\n".join([summary, "", *_counted(rows, alerts)]),
        "color": _color(conversation, values, templates.levels),
        "fields": fields,
        "footer": {"text": footer},
    }
    return _body(text, [embed], _listed(text, rows, alerts))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent when the template fails: the facts, without dress."""
    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {len(values['resolved'])} resolved"
    text = clip(f"{state}: {values['title']} ({counts})", _HEADLINE)
    rows = (
        clip(f"{alert.status}: {' '.join(map('='.join, alert.labels.items()))}", _ALERT) for alert in alerts
    )
    return _body(_listed(text, rows, alerts), [], "")


def _body(content: str, embeds: list[dict[str, Any]], plain: str) -> dict[str, Any]:
    # https://docs.discord.com/developers/resources/message#allowed-mentions-object: nobody is mentioned
    return {"content": content, "embeds": embeds, "plain": plain, "allowed_mentions": {"parse": []}}


def _fields(**values: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "inline": False} for name, value in values.items() if value]


def _links(links: Iterable[tuple[str, str]]) -> str:
    """Those that fit, whole."""
    text = ""
    for name, address in links:
        more = f"{' · ' * bool(text)}[{name}](<{address.translate(_LINKED)}>)"
        if len(text) + len(more) <= FIELD_VALUE:
            text += more
    return text


def _fitting(rows: Iterable[str], budget: int) -> list[str]:
    """The first rows that fit beside the line that counts the rest."""
    kept: list[str] = []
    spent = _MORE
    for row in rows:
        spent += len(row) + 1
        if spent > budget:
            break
        kept.append(row)
    return kept


def _counted(rows: list[str], alerts: Sequence[AlertView]) -> list[str]:
    """The rows of the first alerts; what they leave out is counted, never dropped in silence."""
    rest = [alert.status for alert in alerts[len(rows) :]]
    if not rest:
        return rows
    counts = [f"{rest.count(status)} {status}" for status in ("firing", "resolved") if status in rest]
    return [*rows, f"… and {len(rest)} more ({', '.join(counts)})"]


def _listed(text: str, rows: Iterable[str], alerts: Sequence[AlertView]) -> str:
    return "\n".join([text, *_counted(_fitting(rows, CONTENT - len(text)), alerts)])


def _color(conversation: Conversation, values: Mapping[str, Any], levels: tuple[str, ...]) -> int:
    if conversation.over:
        return _RESOLVED
    if values["rank"] == 0:
        return _MOST_URGENT
    return _LEAST_URGENT if values["rank"] == len(levels) - 1 else _MIDDLE


def _read(status: int, headers: Mapping[str, str], raw: bytes) -> _Answer:
    """https://docs.discord.com/developers/topics/rate-limits"""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    said: Mapping[str, Any] = data if isinstance(data, dict) else {}
    wait = None
    if status == 429:
        wait = _millis(said.get("retry_after", headers.get("Retry-After")))
    elif headers.get("X-RateLimit-Remaining") == "0":
        wait = _millis(headers.get("X-RateLimit-Reset-After"))
    # A 429 that isn't JSON is Cloudflare's, which knows addresses and no webhooks.
    everywhere = said.get("global") is True or headers.get("X-RateLimit-Scope") == "global" or not said
    code, message = said.get("code"), str(said.get("id", ""))
    return _Answer(
        status, code if isinstance(code, int) and 0 < code < 10**6 else 0,
        message if re.fullmatch(r"[0-9]{1,20}", message) else "", wait, status == 429 and everywhere,
    )  # fmt: skip


def _millis(seconds: Any) -> Millis | None:
    try:
        return max(0, min(math.ceil(float(seconds) * SECOND), HOUR))
    except (TypeError, ValueError, OverflowError):
        return None


def _outcome(answer: _Answer) -> Outcome:
    if 200 <= answer.status < 300 and answer.message:
        return Delivered({"message": answer.message})
    if answer.status < 300:  # without the message's id nothing could be edited
        return Retry("bad answer", ambiguous=True)
    if answer.status == 429:
        return Retry(_LIMITED, after=answer.wait, pause=True)
    number = f"discord {answer.code}" if answer.code else f"http {answer.status}"
    words = _WORDS.get(answer.code or answer.status)
    reason = f"{number}: {words}" if words else number
    if answer.refuses_payload:
        return Rejected(reason)
    return Retry(reason, ambiguous=answer.status >= 500)


def _unreachable(error: Exception) -> Retry:
    return next(
        Retry(reason, ambiguous=ambiguous) for kind, reason, ambiguous in _FAULTS if isinstance(error, kind)
    )


DISCORD = Kind(
    name="discord", section="discord", settings=Settings, options=DiscordOptions, make=Discord,
    # Nothing official; https://birdie0.github.io/discord-webhooks-guide/other/rate_limits.html: 5 requests in
    # 2 seconds a webhook. A channel is reported to take 30 a minute, and that is what lasts.
    per_second=0.5, burst=5, placeholder={},
)  # fmt: skip
