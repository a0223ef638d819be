"""Discord: a conversation is a message, or a few if it is long, posted through a channel's webhook and edited as it
changes.
"""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from router.channels.base import ChannelSettings, ChannelSpec, DestinationOptions
from router.channels.discord_layout import bare_facts, escape, layout
from router.channels.said import fit_to_show, parts_of, text_of, tls_fault
from router.model import (
    HOUR,
    SECOND,
    Broken,
    Call,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retry,
)
from router.render import TemplateError, Templates

if TYPE_CHECKING:
    import aiohttp

# https://docs.discord.com/developers/topics/opcodes-and-status-codes: HTTP's statuses, and the codes of a JSON body,
# which are five digits and more. A code in none of these leaves it to the status; a status in none is tried again.
TRANSIENT = frozenset({408, 425, 429, *range(500, 600), 20016, 20028, 20029, 30046, 40333, 130000})
# Somebody has to make a webhook anew, or to mend the address.
_REDIRECTS = frozenset(range(300, 400))
DESTINATION_BROKEN = frozenset({401, 403, 404, 10003, 10015, 50001, 50013, 50027, 220001}) | _REDIRECTS
# Text is sent instead; if that is refused as well, it is rejected. The statuses count for answers without a code:
# then it is not Discord that speaks.
PAYLOAD_BROKEN = frozenset({400, 413, 415, 422, 50006, 50035, 50109})
# Posted anew.
MESSAGE_GONE = frozenset({10008, 50005})
_CODES = TRANSIENT | DESTINATION_BROKEN | PAYLOAD_BROKEN | MESSAGE_GONE
_WORDS = {
    10003: "unknown channel", 10008: "unknown message", 10015: "unknown webhook", 30046: "too many edits of old messages",
    50001: "missing access", 50005: "message of another author", 50006: "empty message", 50013: "missing permissions",
    50027: "invalid webhook token", 50035: "invalid form body", 50109: "invalid JSON",
    220001: "a forum, which takes no plain message",
    **dict.fromkeys(_REDIRECTS, "redirect, not followed"),
}  # fmt: skip

_TIMEOUT_SECONDS = 10
_WHOLE = 3  # an attempt, in such timeouts
# More than any answer of Discord's; what is beyond it is not read.
_ANSWER_BYTES = 2**20
_SHOWN_BYTES = 16 * 2**10
# What all webhooks have in common.
_CAUSE = "discord"
_LIMITED = "ratelimited"
_UNFINISHED = Retry("more messages follow", reached=True, unfinished=True)

_WEBHOOK = re.compile(r"https?://[^\s/?#@]+(?:/[^\s/?#]+)*/webhooks/(\d{1,20})/([\w-]+)/?", re.ASCII)
# What stands for a secret that isn't there, in a check and in the preview; no address looks like it.
_PLACEHOLDER = re.compile(r"[^\s:/]{32}")


def _webhook_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not _PLACEHOLDER.fullmatch(text) and not _WEBHOOK.fullmatch(text):
        raise ValueError("is no Discord webhook; copy its URL under Integrations in the channel's settings")
    return secret


class DiscordSettings(ChannelSettings):
    """``channels.discord``"""

    # https://docs.discord.com/developers/reference#api-versioning
    api_url: str = "https://discord.com/api/v10"
    """Or that of a compatible server."""


class DiscordOptions(DestinationOptions):
    """``- discord: {…}`` of a receiver."""

    webhook_url: Annotated[SecretStr, AfterValidator(_webhook_url)]
    """https://discord.com/api/webhooks/ID/TOKEN: whoever has it can post."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise the webhook's ID does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the webhook is enough)
        return f"discord:{self.name}-{self.webhook[0]}" if self.name else f"discord:{self.webhook[0]}"

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
    everywhere: bool = False
    """The pause is not this webhook's alone."""
    words: str = ""
    """What Discord says of it."""

    @property
    def number(self) -> int:
        """What the tables know it by."""
        said = self.code in _CODES or (self.status == 400 and self.code)
        return self.code if said else self.status

    @property
    def fine(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Posted:
    """A message that stands there, and what it carries."""

    id: str
    version: int = -1
    """Of the conversation, when it was last told."""
    sha256: str = ""
    """Of its content then."""

    def is_stale(self, version: int, number: int, message: Mapping[str, Any]) -> bool:
        """The first message is told each version: so it is known whether it still stands there."""
        return self.version != version and (number == 0 or self.sha256 != _sha256(message))


@dataclass(slots=True)
class _Attempt:
    """At bringing a conversation's messages up to date, and how far it has come."""

    webhook: str
    token: str = field(repr=False)
    posted: list[_Posted]
    """The messages, in their order."""
    told: bool = False
    """One of them says what is true now."""
    plain: bool = False
    """Discord refuses our embeds."""
    wait: Millis = 0
    """How long Discord wants no further request."""
    paid: int | None = None
    """Requests that are paid for; None: all."""
    planned: int = 0
    made: int = 0
    """Requests; more than planned where one was made once more."""

    def is_paid(self) -> bool:
        """Whether the next planned request may be made."""
        if self.paid is not None and self.planned >= self.paid:
            return False
        self.planned += 1
        return True

    @property
    def remote(self) -> dict[str, Any]:
        if not self.posted:
            return {}
        first, *more = self.posted
        remote = {"message": first.id, "carries": [[each.version, each.sha256] for each in self.posted]}
        return {**remote, "more": [each.id for each in more]} if more else remote


def _posted(remote: Mapping[str, Any]) -> list[_Posted]:
    """By a conversation's remote state: ``message`` and ``more`` are ids, ``carries`` has a version and a hash of each."""
    ids = [remote["message"], *remote.get("more", ())] if remote.get("message") else []
    carries = [*remote.get("carries", ()), *[[-1, ""]] * len(ids)]
    return [_Posted(id_, *carried) for id_, carried in zip(ids, carries, strict=False)]


def _sha256(message: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(message).encode()).hexdigest()[:12]


class DiscordChannel:
    def __init__(self, settings: DiscordSettings, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """:param timeout: of one request, in seconds; to connect may take half of it"""
        import aiohttp

        self._api = settings.api_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)
        self._whole = _WHOLE * timeout
        self._session: aiohttp.ClientSession | None = None

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        values = templates.values(conversation, escape)
        fallback = False
        try:
            messages = layout(conversation, templates, values)
        except TemplateError:
            messages, fallback = bare_facts(values), True
        posted = _posted(conversation.remote)
        told = enumerate(zip(posted, messages, strict=False))
        stale = sum(each.is_stale(conversation.version, number, message) for number, (each, message) in told)
        calls = (Call.POST,) * (stale + abs(len(messages) - len(posted)))
        return Message("discord", {"messages": messages}, fallback, calls)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        """Each message remembers what it carries: an attempt goes on with the first that is stale."""
        import aiohttp

        webhook, token = destination.options.webhook
        attempt = _Attempt(webhook, token, _posted(conversation.remote), paid=message.paid)
        before = attempt.remote
        try:
            async with asyncio.timeout(self._whole):
                outcome = await self._bring(attempt, conversation.version, message.body["messages"])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = _unreachable(error)
        further = attempt.remote != before
        match outcome:
            case Delivered():
                outcome = Delivered(attempt.remote, rest=attempt.wait)
            case Retry() if further:
                ambiguous = attempt.told or outcome.ambiguous
                outcome = replace(outcome, ambiguous=ambiguous, remote=attempt.remote, further=True)
            case Broken() if further:
                outcome = replace(outcome, ambiguous=attempt.told, remote=attempt.remote)
        outcome = replace(outcome, unpaid=(Call.POST,) * (attempt.made - attempt.planned))
        return fit_to_show(outcome, [token, *parts_of(destination.options.webhook_url.get_secret_value())])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _bring(self, attempt: _Attempt, version: int, messages: Sequence[Mapping[str, Any]]) -> Outcome:
        """Edit what is stale, post what is new, and remove what is not needed any more."""
        posted = attempt.posted
        # The first message has the news. What is not there yet comes before what is there and stale, or it would
        # never come while news keep coming and only some calls are allowed at a time.
        missing = range(max(1, len(posted)), len(messages))
        stale = sorted(range(1, min(len(posted), len(messages))), key=lambda number: posted[number].version)
        for number in (*range(min(1, len(messages))), *missing, *stale):
            message = messages[number]
            if posted[number:] and not posted[number].is_stale(version, number, message):
                continue
            if not attempt.wait and not attempt.is_paid():
                return _UNFINISHED
            answer = await self._tell(attempt, posted[number].id, message) if posted[number:] else None
            if answer is None or answer.code in MESSAGE_GONE:
                answer = await self._tell(attempt, "", message)
            if not answer.fine or not answer.message:
                return _outcome(answer)
            posted[number : number + 1] = [_Posted(answer.message, version, _sha256(message))]
            attempt.told = True
        while len(posted) > len(messages):
            if not attempt.wait and not attempt.is_paid():
                return _UNFINISHED
            answer = await self._call(attempt, "DELETE", posted[-1].id)
            if not answer.fine and answer.code not in MESSAGE_GONE:
                return _outcome(answer)
            posted.pop()
        return Delivered()

    async def _tell(self, attempt: _Attempt, known: str, message: Mapping[str, Any]) -> _Answer:
        """An embed that Discord refuses is sent as text, in the same attempt: the alert counts. So are the others
        of the attempt, for requests are few.
        """
        method = "PATCH" if known else "POST"
        whole = {name: value for name, value in message.items() if name != "plain"}
        if not attempt.plain or not message["embeds"]:
            answer = await self._call(attempt, method, known, whole)
            if answer.number not in PAYLOAD_BROKEN or not message["embeds"]:
                return answer
            attempt.plain = True
        return await self._call(attempt, method, known, {**whole, "content": message["plain"], "embeds": []})

    async def _call(
        self, attempt: _Attempt, method: str, known: str, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        if attempt.wait:  # it would be refused
            return _Answer(429, 0, "", attempt.wait)
        attempt.made += 1
        url = f"{self._api}/webhooks/{attempt.webhook}/{attempt.token}"
        url += f"/messages/{known}" if known else "?wait=true"
        async with self._connected().request(method, url, json=body, allow_redirects=False) as response:
            answer = _read(response.status, response.headers, await _start(response.content))
        attempt.wait = answer.wait or 0
        return answer

    def _connected(self) -> "aiohttp.ClientSession":
        """Made on first use: a session belongs to the running loop."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "alert-router"},
            )  # fmt: skip
        return self._session


async def _start(content: "aiohttp.StreamReader") -> bytes:
    try:
        return await content.readexactly(_ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial


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
        text_of(raw[:_SHOWN_BYTES], headers.get("Content-Type", "")) if status >= 300 else "",
    )  # fmt: skip


def _millis(seconds: Any) -> Millis | None:
    try:
        return max(0, min(math.ceil(float(seconds) * SECOND), HOUR))
    except (TypeError, ValueError, OverflowError):
        return None


def _outcome(answer: _Answer) -> Retry | Broken | Rejected:
    words = answer.words
    if answer.fine:  # without the message's id nothing could be edited
        return Retry("bad answer", ambiguous=True, cause=_CAUSE)
    if answer.status == 429:
        return Retry(_LIMITED, after=answer.wait, pause=True, everywhere=answer.everywhere, words=words)
    known = f"discord {answer.code}" if answer.code else f"http {answer.status}"
    short = _WORDS.get(answer.code or answer.status)
    reason = f"{known}: {short}" if short else known
    if answer.number in DESTINATION_BROKEN:
        return Broken(reason, words=words)
    if answer.number in PAYLOAD_BROKEN:
        return Rejected(reason, words=words)
    shared = _CAUSE if answer.status >= 500 else ""
    return Retry(reason, ambiguous=answer.status >= 500, words=words, cause=shared)


@cache
def _faults() -> tuple[tuple[type[Exception], str, bool], ...]:
    """Return what goes wrong before there is an answer, and whether the alert may have arrived all the same. The first
    that fits counts.
    """
    import aiohttp

    return (
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


def _unreachable(error: Exception) -> Retry | Broken:
    if fault := tls_fault(error):
        return Broken(fault, words=str(error), cause=_CAUSE)
    return next(
        Retry(reason, ambiguous=ambiguous, words=str(error), cause=_CAUSE)
        for kind, reason, ambiguous in _faults()
        if isinstance(error, kind)
    )


DISCORD = ChannelSpec(
    name="discord", section="discord", settings=DiscordSettings, options=DiscordOptions, make=DiscordChannel,
    # "Rate limits should not be hard coded": the headers of each answer say when the next request may go, and so one
    # delivery goes after the other. https://docs.discord.com/developers/topics/rate-limits
    limits=LaneLimits(), placeholder={},
)  # fmt: skip
