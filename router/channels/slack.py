"""Slack: a message a conversation, edited as it changes; its history and what it can't hold in the thread."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import aiohttp
from pydantic import Field, SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from router.channels.base import ChannelSettings, Kind, Options
from router.channels.said import fit_to_show
from router.channels.slack_errors import (
    EDIT_REFUSED,
    FAULTS,
    MESSAGE_GONE,
    NO_THREADS,
    PAYLOAD_BROKEN,
    code_of,
    is_unknown,
    judged,
    passes,
)
from router.channels.slack_layout import dressed, escape, undressed
from router.channels.slack_storm import plain_storm, storm
from router.model import (
    MINUTE,
    SECOND,
    Broken,
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

_TIMEOUT_SECONDS = 10
_WHOLE = 3  # an attempt, in such timeouts
# How far Slack's clock may be behind ours, and how many messages are looked through for one that may be there.
_SKEW: Millis = MINUTE
_LOOKED_THROUGH = 200
_EVENT = "alert_router"
_NOTHING_LEFT = {"text": "Nothing is left for this reply: the message above has it all.", "blocks": []}


class Settings(ChannelSettings):
    """``channels.slack``"""

    token: SecretStr
    api_url: str | None = None
    """Of a compatible server."""


class SlackOptions(Options):
    """``- slack: {…}`` of a receiver."""

    channel: str = Field(min_length=1)
    """The channel's ID (C…), as "About" of the channel shows it."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the channel's name is enough)
        return f"slack:{self.channel}"


class Slack:
    """One message a conversation.

    An update edits it and tells the news in its thread, once a version. What it has no room for stands in numbered
    replies, which show the present as it does: those whose words changed are edited, more are posted when there is
    more, and one that is not needed any more says so. An edit notifies nobody. A message whose answer got lost is
    looked for in the channel's history before it is posted again; a reply is not.

    A message that is gone, or whose thread is locked, is posted anew. One that Slack lets nobody edit is sealed:
    each update replies with the new state, and with alerts that are new and have no room there.

    The conversation's ``remote`` grows with each step, so that the next attempt goes on from there:

    - ``channel``, ``ts``: the message
    - ``shown``, ``threaded``: the version that it shows, and that its thread was told
    - ``parts``: of each numbered reply its ts and a hash of its words
    - ``sealed``: since which version it can't be edited
    - ``doubt``: instead of all that, since when there may be a message whose ts is unknown
    """

    def __init__(self, settings: Settings, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._settings = settings
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._whole = _WHOLE * timeout_seconds
        self._client: AsyncWebClient | None = None
        self._session: aiohttp.ClientSession | None = None

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        values = templates.values(conversation, escape)
        stormy, fallback = conversation.storm is not None, False
        try:
            body = (
                storm(destination, templates, values)
                if stormy
                else dressed(destination, conversation, templates, values)
            )
        except TemplateError:
            fallback = True
            body = (
                plain_storm(destination, values) if stormy else undressed(destination, conversation, values)
            )
        return Message("slack", body, fallback, _calls(conversation, body))

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        remote = dict(conversation.remote)
        try:
            async with asyncio.timeout(self._whole):
                await self._tell(remote, destination.options.channel, conversation, message.body)
        except FAULTS as error:
            secret = self._settings.token.get_secret_value()
            return fit_to_show(_outcome(judged(error), remote, conversation), [secret])
        return Delivered(remote)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._client = self._session = None

    async def _tell(
        self, remote: dict[str, Any], channel: str, conversation: Conversation, body: Mapping[str, Any]
    ) -> None:
        if "doubt" in remote:
            await self._look_for(remote, channel, conversation)
        if "ts" in remote:
            try:
                await self._follow_up(remote, conversation.version, body)
            except SlackApiError as error:
                if code_of(error) not in MESSAGE_GONE:
                    raise
                remote.clear()
            else:
                return
        await self._post(remote, channel, conversation, body)
        await self._number(remote, body["parts"])

    async def _look_for(self, remote: dict[str, Any], channel: str, conversation: Conversation) -> None:
        """Whether the message is there though its answer got lost. Where the bot may not read the channel (the scope
        channels:history), there is no telling, and it is posted again.

        https://docs.slack.dev/reference/methods/conversations.history
        """
        since = max(0, remote["doubt"] - _SKEW) / SECOND
        try:
            history = await self._connected().conversations_history(
                channel=channel, oldest=f"{since:.6f}", limit=_LOOKED_THROUGH, include_all_metadata=True
            )
        except SlackApiError as error:
            if passes(error):
                raise
            return
        found = [
            (message["ts"], version)
            for message in history["messages"]
            if (version := _version(message, conversation)) is not None
        ]
        if found:
            ts, version = max(found)
            remote.clear()
            remote.update(channel=channel, ts=ts, shown=version, threaded=version)

    async def _post(
        self, remote: dict[str, Any], channel: str, conversation: Conversation, body: Mapping[str, Any]
    ) -> None:
        # https://docs.slack.dev/messaging/message-metadata
        delivery = f"{_delivery(conversation)}{conversation.version}"
        metadata = {"event_type": _EVENT, "event_payload": {"delivery": delivery}}
        whole = {**_message(body), "metadata": metadata}
        answer = await self._with_fallback(
            "chat_postMessage", whole, body["plain"], channel=channel, unfurl_links=False, unfurl_media=False
        )
        place = {"channel": _text(answer["channel"]), "ts": _text(answer["ts"])}
        remote.clear()
        # What is posted now tells all: the version needs no reply.
        remote.update(place, shown=conversation.version, threaded=conversation.version)

    async def _follow_up(self, remote: dict[str, Any], version: int, body: Mapping[str, Any]) -> None:
        sealed = "sealed" in remote
        if remote.get("shown") != version and not sealed:
            try:
                await self._with_fallback(
                    "chat_update", _message(body), body["plain"], channel=remote["channel"], ts=remote["ts"]
                )
                remote["shown"] = version
            except SlackApiError as error:
                if code_of(error) not in EDIT_REFUSED and not is_unknown(error):
                    raise
                sealed = True
        if remote.get("threaded") != version:
            if sealed:
                await self._reply(remote, _message(body), body["plain"], broadcast=body["broadcast"])
                remote["parts"] = []
                remote.setdefault("sealed", version)
            elif body["thread"]:
                await self._reply(remote, {"text": body["thread"]}, body["text"], broadcast=body["broadcast"])
            remote["shown"] = remote["threaded"] = version
        await self._number(remote, body["parts"])

    async def _number(self, remote: dict[str, Any], parts: Sequence[Mapping[str, Any]]) -> None:
        """Bring the numbered replies up to date."""
        known: list[Any] = list(remote.get("parts", ()))
        sealed = "sealed" in remote
        surplus = [] if sealed else [_NOTHING_LEFT] * (len(known) - len(parts))
        for number, part in enumerate([*parts, *surplus]):
            ts, before = known[number] if number < len(known) else ("", "")
            sha256 = _sha256(part)
            if before == sha256 or (ts and sealed):
                continue
            known[number : number + 1] = [[await self._set(remote, part, ts), sha256]]
            remote["parts"] = [*known]

    async def _set(self, remote: Mapping[str, Any], part: Mapping[str, Any], ts: str) -> str:
        """A numbered reply: edited if it is there, else posted. Returns its ts."""
        if ts:
            try:
                await self._call("chat_update", channel=remote["channel"], ts=ts, **part)
            except SlackApiError as error:
                if code_of(error) not in MESSAGE_GONE | EDIT_REFUSED | PAYLOAD_BROKEN and not is_unknown(
                    error
                ):
                    raise
                if part is _NOTHING_LEFT:
                    return ts
            else:
                return ts
        # As text it may be too long for an edit, but not for a post:
        # https://docs.slack.dev/reference/methods/chat.postMessage#truncating
        return await self._reply(remote, part, "\n".join(block["text"]["text"] for block in part["blocks"]))

    async def _reply(
        self, remote: Mapping[str, Any], whole: Mapping[str, Any], plain: str, *, broadcast: bool = False
    ) -> str:
        """Post a reply; returns its ts. Where the thread refuses it, it stands in the channel."""
        place = {"channel": remote["channel"], "unfurl_links": False, "unfurl_media": False}
        thread = {"thread_ts": remote["ts"], "reply_broadcast": broadcast}
        try:
            answer = await self._with_fallback("chat_postMessage", whole, plain, **place, **thread)
        except SlackApiError as error:
            if code_of(error) not in NO_THREADS and not is_unknown(error):
                raise
            answer = await self._with_fallback("chat_postMessage", whole, plain, **place)
        return _text(answer["ts"])

    async def _with_fallback(self, method: str, whole: Mapping[str, Any], plain: str, **where: Any) -> Any:
        """What Slack refuses is sent as text, in the same attempt: the alert counts."""
        try:
            return await self._call(method, **whole, **where)
        except SlackApiError as error:
            code, unknown = code_of(error), is_unknown(error)
            if code not in PAYLOAD_BROKEN and not unknown:
                raise
        rest = {name: value for name, value in whole.items() if name != "metadata"}
        if "metadata" in code and "metadata" in whole:
            return await self._with_fallback(method, rest, plain, **where)
        whole = rest if unknown else whole
        bare: dict[str, Any] = {name: [] for name in ("blocks", "attachments") if name in whole}
        return await self._call(method, **{**whole, **bare, "text": plain}, **where)

    async def _call(self, method: str, **arguments: Any) -> Any:
        return await getattr(self._connected(), method)(**arguments)

    def _connected(self) -> AsyncWebClient:
        """Made on first use: a session belongs to the running loop."""
        if self._client is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=True)
            self._client = AsyncWebClient(
                token=self._settings.token.get_secret_value(),
                session=self._session,
                retry_handlers=[],
                base_url=_slash(self._settings.api_url or AsyncWebClient.BASE_URL),
            )
            # The SDK would send all through HTTPS_PROXY; the session heeds NO_PROXY as well.
            self._client.proxy = None
        return self._client


def _outcome(fault: Retry | Broken | Rejected, remote: dict[str, Any], conversation: Conversation) -> Outcome:
    """What the fault of a call comes to for the attempt."""
    version = conversation.version
    if remote.get("shown") == version and conversation.remote.get("shown") != version:
        # This attempt told the message, whatever became of its replies. What is refused for good the next one says.
        told = Retry(fault.reason) if isinstance(fault, Rejected) else fault
        if isinstance(told, Retry):
            return replace(told, ambiguous=True, remote=remote, further=True)
        return replace(told, ambiguous=True, remote=remote)
    if isinstance(fault, Rejected):
        return fault
    if isinstance(fault, Retry) and "ts" in remote and remote != conversation.remote:
        return replace(fault, remote=remote, further=True)
    if isinstance(fault, Retry) and fault.ambiguous and "ts" not in remote:
        remote.setdefault("doubt", conversation.now)
    return replace(fault, remote=remote)


def _calls(conversation: Conversation, body: Mapping[str, Any]) -> int:
    """How many posts it takes, or edits in their stead: the message (or its edit with the news in the thread, for the
    limits of the two are not the same), and each numbered reply that is stale.
    """
    known = [str(sha256) for _, sha256 in conversation.remote.get("parts", ())]
    parts = [*body["parts"], *[_NOTHING_LEFT] * (len(known) - len(body["parts"]))]
    stale = sum(_sha256(part) != before for part, before in zip_longest(parts, known))
    return max(1, int(conversation.remote.get("shown") != conversation.version) + stale)


def _sha256(part: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(part).encode()).hexdigest()[:12]


def _message(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": body["text"], "attachments": body["attachments"]}


def _delivery(conversation: Conversation) -> str:
    """What the metadata of its messages begin with."""
    return f"{conversation.token}-{conversation.episode}-"


def _version(message: Mapping[str, Any], conversation: Conversation) -> int | None:
    """The version of the conversation that a message was posted with; None: it is none of its messages."""
    delivery = str(message.get("metadata", {}).get("event_payload", {}).get("delivery", ""))
    version = delivery.removeprefix(_delivery(conversation))
    return int(version) if version != delivery and version.isdecimal() else None


def _text(value: Any) -> str:
    """:raises TypeError: it is none"""
    if not isinstance(value, str):
        raise TypeError
    return value


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


SLACK = Kind(
    name="slack", section="slack", settings=Settings, options=SlackOptions, make=Slack,
    # https://docs.slack.dev/apis/web-api/rate-limits: about one message a second a channel, short bursts allowed
    per_second=1.0, burst=3, placeholder={"token": "preview"},
    # of which a workspace takes several hundred a minute in all
    together=(4.0, 10), storm_every=5 * SECOND, edits=True,
)  # fmt: skip
