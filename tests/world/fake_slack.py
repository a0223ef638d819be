"""A Slack that refuses what Slack refuses, keeps what readers would see, and fails on demand.

It knows ``chat.postMessage``, ``chat.update`` and ``conversations.history``. Limits are Slack's own, stated here a second
time on purpose: the channel must not be judged by its own constants.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, differences, http
from tests.world.slack_reader import read_block, read_text

TOKEN = "xoxb-fake"  # not a token of anything
_MENTION = re.compile(r"<[!@#][^>]*>")


def rate_limited(seconds: int) -> Fault:
    return http(429, '{"ok":false,"error":"ratelimited"}', "application/json", Retry_After=str(seconds))


def error(code: str, method: str | None = None) -> Fault:
    return Fault(200, f'{{"ok": false, "error": "{code}"}}', "application/json", method=method)


@dataclass(slots=True)
class Posted:
    """A message or a reply as its readers have it now."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    attachments: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)
    mrkdwn: bool = True
    """Whether markup in ``text`` counts."""
    edits: int = 0
    thread: list["Posted"] = field(default_factory=list)
    broadcasts: int = 0
    """How many of the replies were shown in the channel as well."""

    @property
    def replies(self) -> list[str]:
        """Each reply's words."""
        return [reply.shown for reply in self.thread]

    @property
    def color(self) -> str | None:
        return next((str(each["color"]) for each in self.attachments if each.get("color")), None)

    @property
    def shown(self) -> str:
        """All words of it, top to bottom."""
        return "\n".join([self.text, *_texts(self.blocks), *_texts(self.attachments)])

    @property
    def read(self) -> str:
        """What its readers see, with formats written out."""
        inner = [block for each in self.attachments for block in each.get("blocks", [])]
        top = [] if self.blocks else [self.notification]
        return "\n".join([*top, *map(read_block, [*self.blocks, *inner])])

    @property
    def notification(self) -> str:
        """What a notification and a screen reader say, with formats written out."""
        return read_text(self.text, mrkdwn=self.mrkdwn)

    @property
    def mentions(self) -> list[str]:
        return _MENTION.findall("\n".join([self.shown, *self.replies]))


@dataclass(frozen=True, slots=True)
class Want:
    """A message that is to be there: every one of ``words`` is shown, each reply holds its words, in order."""

    channel: str
    words: tuple[str, ...] = ()
    color: str | None = None
    replies: tuple[str, ...] = ()

    def met_by(self, posted: Posted) -> bool:
        return (
            posted.channel == self.channel
            and all(word in posted.shown for word in self.words)
            and self.color in {None, posted.color}
            and len(posted.replies) == len(self.replies)
            and all(word in reply for word, reply in zip(self.replies, posted.replies, strict=True))
        )


class FakeSlack(FakeServer):
    """``async with FakeSlack() as slack: … api_url=slack.url``

    :param channels: ID to name; posting accepts either, editing only the ID
    :param seconds: a clock; given one, what comes faster than Slack allows is refused
    """

    routes = (("POST", "/api/{method}"), ("GET", "/api/{method}"))
    path = "/api/"

    def __init__(
        self, channels: Mapping[str, str] | None = None, *, seconds: Callable[[], float] | None = None
    ) -> None:
        super().__init__()
        self.channels = dict(channels or {"C0CRITICAL": "critical", "C0WARNINGS": "warnings"})
        self.trouble: dict[str, str] = {}
        """Channel ID to what Slack says of it: is_archived, not_in_channel …"""
        self.history_trouble = ""
        """The error code for every request for the history: missing_scope …"""
        self.revoked = False
        """Whether the token is."""
        self.edits_allowed = True
        self.refuse_replies = ""
        """What it says to every reply: cant_broadcast_message …"""
        self.now = 2_000_000_000
        """Its clock in seconds; each call takes one."""
        self.messages: dict[tuple[str, str], Posted] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Every call that had a body, those refused included."""
        self.refused_as_too_fast = 0
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._edits: list[float] = []

    def delete(self, posted: Posted) -> None:
        """Remove a message with its thread, or a reply, as a person may."""
        if self.messages.pop((posted.channel, posted.ts), None) is None:
            parent = next(each for each in self.messages.values() if posted in each.thread)
            parent.thread.remove(posted)

    def find(self, channel: str, ts: str) -> Posted | None:
        """The message or reply."""
        everything = (each for message in self.messages.values() for each in (message, *message.thread))
        return next((each for each in everything if (each.channel, each.ts) == (channel, ts)), None)

    def refuses(self, body: Mapping[str, Any], *, posting: bool = False) -> str | None:
        """What it would say against an edit, or a post, of this shape, if anything."""
        return _fault_of_content(body, posting=posting)

    def in_channel(self, channel: str) -> list[Posted]:
        return [posted for posted in self.messages.values() if posted.channel == channel]

    @property
    def only(self) -> Posted:
        """The one message there is."""
        (posted,) = self.messages.values()
        return posted

    def expect(self, *wanted: Want) -> None:
        """These messages are there and no others, with these replies and no others, and nobody is mentioned."""
        problems = differences(wanted, self.messages.values())
        problems += [f"mentions {each.mentions}: {each}" for each in self.messages.values() if each.mentions]
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return "\n".join(map(str, self.messages.values())) or "nothing"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        body = await request.json() if request.can_read_body else dict(request.query)
        return request.match_info["method"], body

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append((method, body))

    def _step(self, method: str, body: Any, what: str) -> str:
        return f"{method} {what}" if what == "answered" else f"{method} to {body.get('channel')} {what}"

    def _take(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        method = request.match_info["method"]
        refused = self._refusal(method, request, body)
        if refused == "ratelimited":
            self.refused_as_too_fast += 1
            return web.json_response(
                {"ok": False, "error": refused}, status=429, headers={"Retry-After": "1"}
            )
        if refused:
            return web.json_response({"ok": False, "error": refused})
        channel = self._id(body["channel"])
        if method == "conversations.history":
            return web.json_response({"ok": True, "messages": self._history(channel, body)})
        if method == "chat.update":
            posted = self.find(channel, body["ts"])
            assert posted is not None
            self._edit(posted, body)
        else:
            posted = self._post(channel, f"{self.now + len(self.calls)}.{len(self.calls):06}", body)
        self.on_step(f"{method} to {channel} taken")
        return web.json_response({"ok": True, "channel": channel, "ts": posted.ts})

    def _history(self, channel: str, body: Mapping[str, str]) -> list[dict[str, Any]]:
        """The newest first, without replies. https://docs.slack.dev/reference/methods/conversations.history"""
        found = [each for each in self.in_channel(channel) if float(each.ts) > float(body.get("oldest", 0))]
        with_metadata = body.get("include_all_metadata") in {"1", "true"}
        return [
            {"type": "message", "ts": each.ts, "text": each.text}
            | ({"metadata": each.metadata} if with_metadata and each.metadata else {})
            for each in reversed(found)
        ][: int(body.get("limit", 100))]

    def _post(self, channel: str, ts: str, body: dict[str, Any]) -> Posted:
        text, metadata = body.get("text", "")[:40_000], body.get("metadata", {})
        mrkdwn = body.get("mrkdwn", True)
        posted = Posted(
            channel, ts, text, body.get("blocks", []), body.get("attachments", []), metadata, mrkdwn
        )
        if parent := body.get("thread_ts"):
            self.messages[channel, parent].thread.append(posted)
            self.messages[channel, parent].broadcasts += bool(body.get("reply_broadcast"))
        else:
            self.messages[channel, ts] = posted
        return posted

    def _edit(self, posted: Posted, body: dict[str, Any]) -> None:
        """What an edit leaves out stays, except that text alone takes the blocks away.

        An edit has no argument ``mrkdwn``, so the markup of its text counts:
        https://docs.slack.dev/reference/methods/chat.update
        """
        posted.mrkdwn = posted.mrkdwn or "text" in body
        posted.text = body.get("text", posted.text)
        posted.blocks = body.get("blocks", [] if "text" in body else posted.blocks)
        posted.attachments = body.get("attachments", posted.attachments)
        posted.edits += 1

    def _id(self, channel: str) -> str:
        names = {f"#{name}": id_ for id_, name in self.channels.items()}
        return names.get(channel, channel)

    def _refusal(self, method: str, request: web.Request, body: dict[str, Any]) -> str | None:
        """The code of Slack's refusal. https://docs.slack.dev/reference/methods/chat.postMessage#errors"""
        credentials = _fault_of_credentials(request.headers.get("Authorization", ""))
        if self.revoked:
            credentials = "token_revoked"
        if method == "conversations.history":
            unknown = body.get("channel") not in self.channels
            return credentials or self.history_trouble or ("channel_not_found" if unknown else None)
        if method not in {"chat.postMessage", "chat.update"}:
            return "unknown_method"
        posting = method == "chat.postMessage"
        return (
            credentials
            or self._fault_of_place(body, posting=posting)
            or _fault_of_content(body, posting=posting)
            or _fault_of_metadata(body.get("metadata"))
            or self._too_fast(method, body["channel"])
        )

    def _fault_of_place(self, body: Mapping[str, Any], *, posting: bool) -> str | None:
        channel = self._id(body.get("channel", "")) if posting else body.get("channel", "")
        if channel not in self.channels:
            return "channel_not_found"
        if channel in self.trouble:
            return self.trouble[channel]
        if not posting and self.find(channel, body.get("ts", "")) is None:
            return "message_not_found"
        if not posting and not self.edits_allowed:
            return "edit_window_closed"
        if parent := body.get("thread_ts"):
            return (
                "thread_not_found" if (channel, parent) not in self.messages else self.refuse_replies or None
            )
        return None

    def _too_fast(self, method: str, channel: str) -> str | None:
        """A message a second and channel, fifty edits a minute. https://docs.slack.dev/apis/web-api/rate-limits"""
        if self._seconds is None:
            return None
        now = self._seconds()
        if method == "chat.update":
            self._edits = [at for at in self._edits if at > now - 60]
            if len(self._edits) >= 50:
                return "ratelimited"
            self._edits.append(now)
            return None
        if now - self._last.get(channel, float("-inf")) < 1:
            return "ratelimited"
        self._last[channel] = now
        return None


def _fault_of_credentials(header: str) -> str | None:
    if not header:
        return "not_authed"
    return None if header == f"Bearer {TOKEN}" else "invalid_auth"


def _fault_of_content(body: Mapping[str, Any], *, posting: bool) -> str | None:
    text, blocks, attachments = body.get("text"), body.get("blocks", []), body.get("attachments", [])
    if not text and not blocks and not attachments:
        return "no_text"
    if not posting and len(text or "") > 4_000:
        return "msg_too_long"
    if len(blocks) > 50 or not all(map(_valid, blocks)):
        return "invalid_blocks"
    if len(attachments) > 100:
        return "too_many_attachments"
    inner = [block for each in attachments for block in each.get("blocks", [])]
    if len(inner) > 50 or not all(map(_valid, inner)):
        return "invalid_attachments"
    everything = [text or "", *_texts(blocks), *_texts(attachments)]
    return "msg_blocks_too_long" if sum(map(len, everything)) > 13_200 else None


def _fault_of_metadata(metadata: Any) -> str | None:
    """https://docs.slack.dev/messaging/message-metadata"""
    match metadata:
        case None | {"event_type": str(), "event_payload": dict()}:
            return None
    return "invalid_metadata_format"


def _valid(block: Any) -> bool:  # noqa: PLR0911  (one a kind of block)
    """https://docs.slack.dev/reference/block-kit/blocks"""
    match block:
        case {"type": "header", "text": {"type": "plain_text", "text": str(text)}}:
            return 1 <= len(text) <= 150
        case {"type": "section", "text": text}:
            return _valid_text(text, 3_000)
        case {"type": "section", "fields": [_, *_] as fields}:
            return len(fields) <= 10 and all(_valid_text(each, 2_000) for each in fields)
        case {"type": "context", "elements": [_, *_] as elements}:
            return len(elements) <= 10 and all(_valid_text(each, 2_000) for each in elements)
        case {"type": "actions", "elements": [_, *_] as elements}:
            ids = [each.get("action_id") for each in elements]
            return len(elements) <= 25 and len(set(ids)) == len(ids) and all(map(_valid_button, elements))
        case {"type": "rich_text", "elements": [_, *_] as elements}:
            return all(map(_valid_container, elements))
        case {"type": "divider"}:
            return True
    return False


def _valid_container(container: Any) -> bool:
    """https://docs.slack.dev/reference/block-kit/blocks/rich-text-block"""
    match container:
        case {"type": "rich_text_section" | "rich_text_quote", "elements": [_, *_] as elements}:
            return all(map(_valid_element, elements))
        case {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": str(text)}]}:
            return bool(text)
    return False


def _valid_element(element: Any) -> bool:
    styles = {"bold", "italic", "strike", "code"}
    match element:
        case {"type": "text", "text": str(text)}:
            return bool(text) and set(element.get("style", {})) <= styles
        case {"type": "link", "url": str(url)}:
            return url.startswith(("http://", "https://", "mailto:")) and element.get("text") != ""
        case {"type": "emoji", "name": str(name)}:
            return bool(name)
        case {"type": "user" | "usergroup" | "channel" | "broadcast"}:
            return len(element) == 2
    return False


def _valid_text(text: Any, limit: int) -> bool:
    match text:
        case {"type": "mrkdwn" | "plain_text", "text": str(words)}:
            return 1 <= len(words) <= limit
    return False


def _valid_button(button: Any) -> bool:
    match button:
        case {"type": "button", "text": {"type": "plain_text", "text": str(words)}, "url": str(url)}:
            web_address = url.startswith(("http://", "https://")) and len(url) <= 3_000
            return 1 <= len(words) <= 75 and web_address and len(button.get("action_id", "")) <= 255
    return False


def _texts(node: Any) -> Iterator[str]:
    """Every piece of text in blocks or attachments; addresses are counted by Slack too."""
    if isinstance(node, list):
        for each in node:
            yield from _texts(each)
    elif isinstance(node, dict):
        for name in ("fallback", "text", "url"):
            if isinstance(node.get(name), str):
                yield node[name]
        for name in ("blocks", "elements", "fields", "text"):
            if not isinstance(node.get(name), str):
                yield from _texts(node.get(name))


__all__ = [
    "CLOSE",
    "HANG",
    "LOST_ANSWER",
    "TOKEN",
    "FakeSlack",
    "Fault",
    "Posted",
    "Want",
    "error",
    "http",
    "rate_limited",
]
