"""Slack: a message a conversation, edited as it changes, its history in the thread."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp
from pydantic import Field, SecretStr
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from router.channels.base import Kind, Options, Section
from router.model import SECOND, Conversation, Delivered, Destination, Message, Millis, Outcome, Retry
from router.render import TemplateError, Templates
from router.render.words import clean, clip, line

# https://docs.slack.dev/reference/methods/chat.postMessage#truncating
TEXT = 4_000
# https://docs.slack.dev/reference/block-kit/blocks/header-block
HEADER = 150
# https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION = 3_000
# https://docs.slack.dev/reference/block-kit/blocks/context-block (the text of an element, as in a section)
CONTEXT = 2_000
# https://docs.slack.dev/reference/block-kit/blocks
BLOCKS = 50
# https://docs.slack.dev/reference/block-kit/block-elements/button-element
BUTTON_URL = 3_000
# Beyond about 13,200 characters in all, Slack answers msg_blocks_too_long; documented nowhere.
BUDGET = 12_000

# Red, amber, blue and green, told apart in light and dark.
_MOST_URGENT, _MIDDLE, _LEAST_URGENT, _RESOLVED = "#d5303e", "#e8912d", "#3a7bd5", "#2eb67d"

# https://docs.slack.dev/reference/methods/chat.postMessage#errors and …/chat.update#errors
_PAYLOAD_BROKEN = frozenset({
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_attachments",
    "too_many_attachments", "metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema",
})  # fmt: skip
_MESSAGE_GONE = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
)
_AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
_TIMEOUT_SECONDS = 10
_BACKTICK = "\N{MODIFIER LETTER GRAVE ACCENT}"  # looks like one, and ends no code span


class Settings(Section):
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
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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
            if remote.get("ts") and not await self._update(remote, message.body):
                remote = {}
            if not remote.get("ts"):
                remote = await self._post(destination, message.body)
                remote["threaded"] = conversation.version
            elif message.body["thread"] and remote.get("threaded") != conversation.version:
                await self._call(
                    "chat_postMessage",
                    channel=remote["channel"],
                    thread_ts=remote["ts"],
                    text=message.body["thread"],
                    reply_broadcast=message.body["broadcast"],
                )
                remote["threaded"] = conversation.version
        except SlackApiError as error:
            return _failed(error, remote)
        except (TimeoutError, aiohttp.ClientError, SlackClientError, ValueError) as error:
            # A timeout is raised bare; a body that is not JSON as ValueError or SlackClientError.
            refused = isinstance(error, aiohttp.ClientConnectorError)
            return Retry(_network(error), ambiguous=not refused, remote=remote)
        return Delivered(remote)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _update(self, remote: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        """False: the message can't be edited any more; post anew."""
        try:
            await self._with_fallback("chat_update", body, channel=remote["channel"], ts=remote["ts"])
        except SlackApiError as error:
            if _code(error) in _MESSAGE_GONE:
                return False
            raise
        return True

    async def _post(self, destination: Destination, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._with_fallback(
            "chat_postMessage",
            body,
            channel=destination.options.channel,
            unfurl_links=False,
            unfurl_media=False,
        )
        return {"channel": answer["channel"], "ts": answer["ts"]}

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
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS), trust_env=True
            )
            self._client = AsyncWebClient(
                token=self._settings.token.get_secret_value(),
                session=self._session,
                retry_handlers=[],
                base_url=_slash(self._settings.api_url or AsyncWebClient.BASE_URL),
            )
        return self._client


def escape(text: str) -> str:
    """The three characters that mean something to Slack; mentions are disarmed with them.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", _BACKTICK)


def _layout(
    destination: Destination, conversation: Conversation, templates: Templates, values: dict[str, Any]
) -> dict[str, Any]:
    def words(block: str, limit: int, **more: Any) -> str:
        text = re.sub(r"\n{3,}", "\n\n", templates.render("slack.j2", block, {**values, **more}))
        return _clip(text, limit)

    text = line(words("text", TEXT))
    head: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _clip(line(_unescape(words("header", 3_000))), HEADER), "emoji": True}},
    ]  # fmt: skip
    head += _section(words("summary", SECTION))
    tail = _section(words("labels", SECTION))
    tail += _buttons(values["links"])
    context = words("context", CONTEXT)
    tail += [{"type": "context", "elements": [{"type": "mrkdwn", "text": context}]}] if context else []
    rows = [words("alert", SECTION, alert=alert) for alert in values["alerts"]]
    spent = sum(_weight(block) for block in (*head, *tail))
    body = _alert_sections(rows, BUDGET - spent - len(text), BLOCKS - len(head) - len(tail))
    blocks = [*head, *body, *tail]
    first = not conversation.remote
    return {
        "channel": destination.options.channel,
        "text": text,
        "plain": _clip("\n".join([text, *rows]), TEXT),
        "blocks": [],
        "attachments": [
            {"color": _color(conversation, values, templates.levels), "blocks": blocks, "fallback": text}
        ],
        "thread": None if first else _clip(words("thread", SECTION), TEXT) or None,
        # An edit notifies nobody: what fires newly is shown in the channel as well.
        "broadcast": bool(values["new_firing"]),
    }


def _plain(destination: Destination, conversation: Conversation, values: dict[str, Any]) -> dict[str, Any]:
    """What is sent when the template fails: the facts, without dress."""
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    text = line(
        f"{state}: {values['title']} ({len(values['firing'])} firing, {len(values['resolved'])} resolved)"
    )
    rows = [
        f"{alert.status}: " + " ".join(f"{name}={value}" for name, value in alert.labels.items())
        for alert in values["alerts"]
    ]
    plain = _clip("\n".join([text, *rows]), TEXT)
    return {
        "channel": destination.options.channel, "text": plain, "plain": plain, "blocks": [], "attachments": [],
        "thread": text if conversation.remote else None, "broadcast": bool(values["new_firing"]),
    }  # fmt: skip


def _alert_sections(rows: list[str], budget: int, most: int) -> list[dict[str, Any]]:
    """The alerts' lines packed into sections; what doesn't fit is counted, never dropped in silence."""
    texts: list[str] = []
    spent = 0
    for number, row in enumerate(rows):
        rest = f"… and {len(rows) - number} more"
        if spent + len(row) + len(rest) + 2 > budget or (
            len(texts) >= most - 1 and len(texts[-1]) + len(row) + 1 > SECTION
        ):
            texts.append(rest)
            break
        if texts and len(texts[-1]) + len(row) + 1 <= SECTION:
            texts[-1] += "\n" + row
        else:
            texts.append(row)
        spent += len(row) + 1
    return [block for text in texts for block in _section(text)]


def _section(text: str) -> list[dict[str, Any]]:
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}] if text else []


def _buttons(links: Any) -> list[dict[str, Any]]:
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": name},
            "url": _unescape(url),
            "action_id": f"open-{name.lower()}",
        }
        for name, url in links
        if len(_unescape(url)) <= BUTTON_URL
    ]
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
    return text if len(text) <= limit else clip(re.sub(r"&[a-z]{0,4}$", "", text[: limit - 1]) + "……", limit)


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
    status = getattr(error.response, "status_code", 0)
    code = _code(error)
    if status == 429 or code in {"ratelimited", "rate_limited"}:
        return Retry("ratelimited", after=_retry_after(error), pause=True, remote=remote)
    reason = code or f"http {status}"
    return Retry(reason, ambiguous=code in _AMBIGUOUS or status >= 500, remote=remote)


def _retry_after(error: SlackApiError) -> Millis | None:
    headers = getattr(error.response, "headers", None) or {}
    value = next((value for name, value in headers.items() if name.casefold() == "retry-after"), None)
    try:
        return None if value is None else int(float(value) * SECOND)
    except ValueError:
        return None


def _network(error: Exception) -> Literal["timeout", "connection failed", "bad answer"]:
    if isinstance(error, TimeoutError):
        return "timeout"
    return "connection failed" if isinstance(error, aiohttp.ClientError) else "bad answer"


SLACK = Kind(
    name="slack", section="slack", settings=Settings, options=SlackOptions, make=Slack,
    # https://docs.slack.dev/apis/web-api/rate-limits: about one message a second a channel, short bursts allowed
    per_second=1.0, burst=3, placeholder={"token": "preview"},
)  # fmt: skip
