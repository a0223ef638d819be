"""Slack: a message a conversation, edited as it changes, its history in the thread."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import Field, SecretStr
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from router.channels.base import ChannelSettings, Kind, Options
from router.model import SECOND, Conversation, Delivered, Destination, Message, Millis, Outcome, Retry
from router.render import TemplateError, Templates
from router.render.view import AlertView
from router.render.words import clean, clip, line

# https://docs.slack.dev/reference/methods/chat.postMessage#truncating
TEXT = 4_000
# https://docs.slack.dev/reference/block-kit/blocks/header-block
HEADER = 150
# https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION = 3_000
# https://docs.slack.dev/reference/block-kit/block-elements/button-element
BUTTON_URL = 3_000
# Beyond about 13,200 characters in all, Slack answers msg_blocks_too_long; documented nowhere. Sections are
# packed full, so that a message within it stays far below the 50 blocks that are allowed:
# https://docs.slack.dev/reference/block-kit/blocks
BUDGET = 12_000

# Shares of the budget for what stands once, so that there is always room for alerts.
_HEADLINE, _LABELS, _CONTEXT, _LINKS = 300, 1_500, 500, 3_000
_ALERT = 600  # and no alert takes it all
_MORE = 60  # room for the line that counts the rest

# Red, amber, blue and green, told apart in light and dark.
_MOST_URGENT, _MIDDLE, _LEAST_URGENT, _RESOLVED = "#d5303e", "#e8912d", "#3a7bd5", "#2eb67d"

# https://docs.slack.dev/reference/methods/chat.postMessage#errors and …/chat.update#errors
# A code in none of these means: try again. Either it passes (service_unavailable), or somebody has to mend the
# channel or the token (channel_not_found, token_revoked), and then it must arrive.
_PAYLOAD_BROKEN = frozenset({
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_attachments",
    "too_many_attachments", "metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema",
})  # fmt: skip
_MESSAGE_GONE = frozenset({
    "message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found",
    "restricted_action_thread_locked",
})  # fmt: skip
_AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
_TIMEOUT_SECONDS = 10
# Look like them, and make no mention.
_ANGLES = {
    ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
}


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
    def __init__(self, settings: Settings, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._settings = settings
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._client: AsyncWebClient | None = None
        self._session: aiohttp.ClientSession | None = None

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        values = templates.values(conversation, escape)
        try:
            return Message("slack", _layout(destination, conversation, templates, values))
        except TemplateError:
            return Message("slack", _plain(destination, conversation, values), fallback=True)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        remote = dict(conversation.remote)
        try:
            if remote.get("ts") and not await self._follow_up(remote, conversation.version, message.body):
                remote = {}
            if not remote.get("ts"):
                remote = await self._post(destination, conversation.version, message.body)
        except SlackApiError as error:
            return _failed(error, remote)
        except TimeoutError:
            return Retry("timeout", ambiguous=True, remote=remote)
        except aiohttp.ClientError as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            return Retry("connection failed", ambiguous=not refused, remote=remote)
        except (SlackClientError, ValueError, AttributeError, TypeError):
            # What the SDK comes to when an answer is not the JSON object that it takes for granted.
            return Retry("bad answer", ambiguous=True, remote=remote)
        return Delivered(remote)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._client = self._session = None

    async def _follow_up(self, remote: dict[str, Any], version: int, body: Mapping[str, Any]) -> bool:
        """Edit the message, and tell the news in its thread, once a version (``remote`` remembers it).

        False: that message can't be edited or answered any more.
        """
        where = {"channel": remote["channel"]}
        try:
            await self._with_fallback("chat_update", body, ts=remote["ts"], **where)
            if body["thread"] and remote.get("threaded") != version:
                told = {"text": body["thread"], "reply_broadcast": body["broadcast"]}
                await self._call("chat_postMessage", thread_ts=remote["ts"], **told, **where)
                remote["threaded"] = version
        except SlackApiError as error:
            if _code(error) in _MESSAGE_GONE:
                return False
            raise
        return True

    async def _post(self, destination: Destination, version: int, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._with_fallback(
            "chat_postMessage",
            body,
            channel=destination.options.channel,
            unfurl_links=False,
            unfurl_media=False,
        )
        # What is posted now tells all: the version needs no reply.
        return {"channel": answer["channel"], "ts": answer["ts"], "threaded": version}

    async def _with_fallback(self, method: str, body: Mapping[str, Any], **where: Any) -> Any:
        """A message whose blocks Slack refuses is sent as text, in the same attempt: the alert counts."""
        try:
            return await self._call(method, text=body["text"], attachments=body["attachments"], **where)
        except SlackApiError as error:
            if _code(error) not in _PAYLOAD_BROKEN:
                raise
            return await self._call(method, text=clip(body["plain"], TEXT), attachments=[], **where)

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


def escape(text: str) -> str:
    """The three characters that mean something to Slack; mentions are disarmed with them.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _layout(
    destination: Destination, conversation: Conversation, templates: Templates, values: dict[str, Any]
) -> dict[str, Any]:
    def words(block: str, limit: int, **more: Any) -> str:
        text = re.sub(r"\n{3,}", "\n\n", templates.render("slack.j2", block, {**values, **more}))
        return _clip(text, limit)

    alerts: list[AlertView] = values["alerts"]
    text = line(words("text", _HEADLINE))
    header = {"type": "plain_text", "text": _plain_text(words("header", SECTION)), "emoji": True}
    head = [{"type": "header", "text": header}, *_section(words("summary", SECTION))]
    tail = [*_section(words("labels", _LABELS)), *_buttons(values["links"])]
    if context := words("context", _CONTEXT):
        tail.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]})
    # The text is there twice: of the message, and of the attachment.
    spent = 2 * len(text) + sum(map(_weight, head + tail))
    rows = _fitting((words("alert", _ALERT, alert=alert) for alert in alerts), BUDGET - spent)
    blocks = [*head, *_sections(_counted(rows, alerts)), *tail]
    first = not conversation.remote
    return {
        "channel": destination.options.channel,
        "text": text,
        "plain": _listed(text, rows, alerts),
        "blocks": [],
        "attachments": [
            {"color": _color(conversation, values, templates.levels), "blocks": blocks, "fallback": text}
        ],
        "thread": None if first else words("thread", SECTION) or None,
        # An edit notifies nobody: what fires newly is shown in the channel as well.
        "broadcast": bool(values["new_firing"]),
    }


def _plain(destination: Destination, conversation: Conversation, values: dict[str, Any]) -> dict[str, Any]:
    """What is sent when the template fails: the facts, without dress."""
    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {len(values['resolved'])} resolved"
    text = _clip(f"{state}: {values['title']} ({counts})", _HEADLINE)
    rows = (
        _clip(f"{alert.status}: {' '.join(map('='.join, alert.labels.items()))}", _ALERT) for alert in alerts
    )
    plain = _listed(text, rows, alerts)
    return {
        "channel": destination.options.channel, "text": plain, "plain": plain, "blocks": [], "attachments": [],
        "thread": text if conversation.remote else None, "broadcast": bool(values["new_firing"]),
    }  # fmt: skip


def _fitting(rows: Iterable[str], budget: int) -> list[str]:
    """The first rows that fit, and the line that counts the rest with them."""
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
    return "\n".join([text, *_counted(_fitting(rows, TEXT - len(text)), alerts)])


def _sections(rows: list[str]) -> list[dict[str, Any]]:
    texts: list[str] = []
    for row in rows:
        if texts and len(texts[-1]) + 1 + len(row) <= SECTION:
            texts[-1] += "\n" + row
        else:
            texts.append(row)
    return [block for text in texts for block in _section(text)]


def _section(text: str) -> list[dict[str, Any]]:
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}] if text else []


def _buttons(links: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = []
    left = _LINKS
    for name, address in links:
        url = _unescape(address)
        if len(url) > min(left, BUTTON_URL):
            continue
        left -= len(url)
        words = {"type": "plain_text", "text": name}
        elements.append({"type": "button", "text": words, "url": url, "action_id": f"open-{name.lower()}"})
    return [{"type": "actions", "elements": elements}] if elements else []


def _weight(block: Mapping[str, Any]) -> int:
    match block["type"]:
        case "section" | "header":
            return len(block["text"]["text"])
        case _:
            return sum(len(str(element)) for element in block["elements"])


def _color(conversation: Conversation, values: Mapping[str, Any], levels: tuple[str, ...]) -> str:
    if conversation.over:
        return _RESOLVED
    if values["rank"] == 0:
        return _MOST_URGENT
    return _LEAST_URGENT if values["rank"] == len(levels) - 1 else _MIDDLE


def _clip(text: str, limit: int) -> str:
    """Cut without leaving half an entity behind."""
    return text if len(text) <= limit else re.sub(r"&[a-z]{0,4}$", "", clip(text, limit)[:-1]) + "…"


def _plain_text(text: str) -> str:
    """For where nothing is marked up: without entities, and without what could be taken for a mention."""
    return _clip(line(_unescape(text).translate(_ANGLES)), HEADER)


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _code(error: SlackApiError) -> str:
    data = getattr(error.response, "data", None)
    if isinstance(data, dict) and isinstance(data.get("error"), str):
        return re.sub(r"[^a-z0-9_]", "", data["error"].casefold())[:60] or "unknown"
    return ""


def _failed(error: SlackApiError, remote: dict[str, Any]) -> Retry:
    """Nothing that Slack answers is final: a channel can be mended, a token renewed."""
    # With an answer that is no JSON the SDK hands over aiohttp's own response, which says `status`.
    response: Any = error.response
    status: int = response.status_code if hasattr(response, "status_code") else response.status
    code = _code(error)
    if status == 429 or code in {"ratelimited", "rate_limited"}:
        return Retry("ratelimited", after=_retry_after(error), pause=True, remote=remote)
    reason = code or ("bad answer" if status == 200 else f"http {status}")
    unclear = status >= 500 or (not code and status < 400)
    return Retry(reason, ambiguous=code in _AMBIGUOUS or unclear, remote=remote)


def _retry_after(error: SlackApiError) -> Millis | None:
    headers = getattr(error.response, "headers", None) or {}
    value = next((value for name, value in headers.items() if name.casefold() == "retry-after"), None)
    try:
        return None if value is None else int(float(value) * SECOND)
    except (ValueError, OverflowError):
        return None


SLACK = Kind(
    name="slack", section="slack", settings=Settings, options=SlackOptions, make=Slack,
    # https://docs.slack.dev/apis/web-api/rate-limits: about one message a second a channel, short bursts allowed
    per_second=1.0, burst=3, placeholder={"token": "preview"},
)  # fmt: skip
