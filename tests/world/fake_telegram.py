"""A Telegram that refuses what Telegram refuses, keeps what readers would see, and fails on demand.

It knows one bot in a few chats. Limits are Telegram's own, stated here a second time on purpose: the channel must not be
judged by its own constants. https://core.telegram.org/bots/api
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, differences, http

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx"  # the shape of one; no bot has it
CHAT = -1001234567890
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
# https://core.telegram.org/bots/api#html-style
_TAGS = {"b", "i", "u", "s", "a", "code", "pre", "blockquote"}
_MENTION = re.compile(r"(?<!\w)@[A-Za-z0-9_]{2,32}\b", re.ASCII)
_POST = {
    "chat_id", "text", "parse_mode", "link_preview_options", "message_thread_id", "reply_parameters",
}  # fmt: skip
_EDIT = {"chat_id", "text", "parse_mode", "link_preview_options", "message_id"}
_STATUS = {"Unauthorized": 401, "Forbidden": 403, "Too Many Requests": 429, "Not Found": 404}


def error(description: str, status: int | None = None, **parameters: Any) -> Fault:
    """An answer with this description, such as "Forbidden: bot was kicked from the group chat"."""
    status = status or _STATUS.get(description.partition(":")[0], 400)
    return Fault(status, json.dumps(_refusal(description, status, parameters)), "application/json")


def _refusal(description: str, status: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
    more = {"parameters": dict(parameters)} if parameters else {}
    return {"ok": False, "error_code": status, "description": description, **more}


class _Parser(HTMLParser):
    """Reads HTML as strictly as Telegram does; ``fault`` says what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""
        self.addresses: list[str] = []
        self.fault = ""
        self.quiet = ""
        """The text without what is code or a link, where a name is no mention."""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fault = self.fault or ("" if tag in _TAGS else f"Unsupported start tag {tag}")
        self._open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.fault = self.fault or f"Unmatched end tag {tag}"

    def handle_data(self, data: str) -> None:
        self._add(data)
        if "<" in data:
            self.fault = self.fault or "Unexpected <"

    def handle_entityref(self, name: str) -> None:
        """https://core.telegram.org/bots/api#html-style: only these are known; others stay as they are."""
        self._add(_ENTITIES.get(name, f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self._add(html.unescape(f"&#{name};"))

    def handle_comment(self, data: str) -> None:
        self.fault = self.fault or f"Unsupported start tag !{data}"

    def handle_decl(self, decl: str) -> None:
        self.handle_comment(decl)

    def unknown_decl(self, data: str) -> None:
        self.handle_comment(data)

    def handle_pi(self, data: str) -> None:
        self.handle_comment(data)

    def _add(self, text: str) -> None:
        self.text += text
        if not {"code", "pre", "a"} & set(self._open):
            self.quiet += text

    def close(self) -> None:
        super().close()
        self.fault = self.fault or (f"Can't find end tag {self._open[-1]}" if self._open else "")


def parsed(message: Mapping[str, Any]) -> _Parser:
    parser = _Parser()
    if message.get("parse_mode") == "HTML":
        parser.feed(message["text"])
        parser.close()
    else:
        parser.text = parser.quiet = message["text"]
    return parser


def fault_of(message: Mapping[str, Any]) -> str:
    """The description of what is wrong with a message, or nothing."""
    text = message.get("text")
    if not isinstance(text, str) or not text.strip():
        return "Bad Request: message text is empty"
    if len(text.encode()) > 32_768:
        return "Bad Request: text is too long"
    found = parsed(message)
    if found.fault:
        return f"Bad Request: can't parse entities: {found.fault}"
    if not found.text.strip():
        return "Bad Request: message text is empty"
    if len(found.text.encode("utf-16-le")) // 2 > 4_096:
        return "Bad Request: message is too long"
    return ""


@dataclass(slots=True)
class Sent:
    """A message as its readers have it now."""

    id: int
    chat: int | str
    body: dict[str, Any]
    thread: int | None = None
    reply_to: int | None = None
    edits: int = 0

    @property
    def shown(self) -> str:
        found = parsed(self.body)
        return "\n".join([found.text, *found.addresses])

    @property
    def mentions(self) -> list[str]:
        text = re.sub(r"https?://\S+", "", parsed(self.body).quiet)
        return _MENTION.findall(text)


@dataclass(frozen=True, slots=True)
class Want:
    """A message that is to be there: every one of ``words`` is shown."""

    words: tuple[str, ...] = ()
    edits: int = 0
    reply: bool = False

    def met_by(self, sent: Sent) -> bool:
        fits = all(word in sent.shown for word in self.words)
        return fits and self.edits == sent.edits and self.reply == (sent.reply_to is not None)


@dataclass
class _Chat:
    threads: set[int] = field(default_factory=set)
    times: list[float] = field(default_factory=list)


class FakeTelegram(FakeServer):
    """``async with FakeTelegram() as telegram: … api_url=telegram.url``

    :param seconds: a clock; given one, more than 20 calls a minute in a group are refused
    """

    routes = (("POST", "/{bot}/{method}"),)

    def __init__(self, *, seconds: Callable[[], float] | None = None) -> None:
        super().__init__()
        self.messages: dict[int, Sent] = {}
        self.chats: dict[int | str, _Chat] = {CHAT: _Chat(), 42: _Chat(), "@alerts": _Chat()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and body of every call, those refused included."""
        self.refusals: list[str] = []
        """The descriptions of what was refused."""
        self._seconds = seconds

    @property
    def only(self) -> Sent:
        """The one message there is."""
        (sent,) = self.messages.values()
        return sent

    def delete(self, sent: Sent) -> None:
        """Somebody removes a message."""
        del self.messages[sent.id]

    def expect(self, *wanted: Want) -> None:
        """These messages are there and no others, and nobody is mentioned."""
        problems = differences(wanted, self.messages.values())
        problems += [f"mentions {each.mentions}: {each}" for each in self.messages.values() if each.mentions]
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return "\n".join(map(str, self.messages.values())) or "nothing"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.match_info["method"], await request.json()

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append((method, body))

    def _take(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        method = request.match_info["method"]
        description = next(filter(None, self._refusals(request.match_info["bot"], method, body)), "")
        if description:
            self.refusals.append(description)
            wait = description.rpartition("retry after ")[2]
            parameters = {"retry_after": int(wait)} if wait.isdigit() else {}
            status = _STATUS.get(description.partition(":")[0], 400)
            return web.json_response(_refusal(description, status, parameters), status=status)
        sent = self._post(body) if method == "sendMessage" else self._edit(body)
        result = {"message_id": sent.id, "chat": {"id": sent.chat}, "text": parsed(sent.body).text}
        return web.json_response({"ok": True, "result": result})

    def _refusals(self, bot: str, method: str, body: Mapping[str, Any]) -> Iterator[str]:
        """Descriptions of what is wrong with a call, the first one first; an empty one: nothing is."""
        if bot != f"bot{TOKEN}":
            yield "Unauthorized"
        if method not in {"sendMessage", "editMessageText"}:
            yield "Not Found"
        chat = self.chats.get(body["chat_id"])
        if chat is None:
            yield "Bad Request: chat not found"
            return
        yield self._limit(chat)
        thread = body.get("message_thread_id")
        if thread is not None and thread not in chat.threads:
            yield "Bad Request: message thread not found"
        if not body.keys() <= (_POST if method == "sendMessage" else _EDIT):
            yield f"Bad Request: no such parameter among {sorted(body)}"
        if method == "editMessageText" and body["message_id"] not in self.messages:
            yield "Bad Request: message to edit not found"
        yield fault_of(body)
        if method == "editMessageText" and _is_same(self.messages[body["message_id"]].body, body):
            yield "Bad Request: message is not modified: specified new message content is the same"

    def _limit(self, chat: _Chat) -> str:
        """https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this"""
        if self._seconds is None:
            return ""
        now = self._seconds()
        chat.times = [each for each in chat.times if now - each < 60]
        if len(chat.times) >= 20:
            return f"Too Many Requests: retry after {int(60 - (now - chat.times[0])) + 1}"
        chat.times.append(now)
        return ""

    def _post(self, body: Mapping[str, Any]) -> Sent:
        quoted = body.get("reply_parameters", {}).get("message_id")
        number = len(self.calls) + 100
        reply_to = quoted if quoted in self.messages else None
        sent = Sent(number, body["chat_id"], dict(body), body.get("message_thread_id"), reply_to)
        self.messages[number] = sent
        return sent

    def _edit(self, body: Mapping[str, Any]) -> Sent:
        sent = self.messages[body["message_id"]]
        sent.body = dict(body)
        sent.edits += 1
        return sent


def _is_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return parsed(before).text == parsed(after).text and parsed(before).addresses == parsed(after).addresses


__all__ = [
    "CHAT",
    "CLOSE",
    "HANG",
    "LOST_ANSWER",
    "TOKEN",
    "FakeTelegram",
    "Fault",
    "Sent",
    "Want",
    "error",
    "fault_of",
    "http",
    "parsed",
]
