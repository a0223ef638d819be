"""A Discord that refuses what Discord refuses, keeps what readers would see, and fails on demand.

It knows one webhook: to execute it, and to edit or delete a message of its. Limits are Discord's own, stated here a second
time on purpose: the channel must not be judged by its own constants.
https://docs.discord.com/developers/resources/webhook
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, differences, http

WEBHOOK, TOKEN = "1180000000000000001", "fake-token_of-nobody"  # not a token of anything
URL = f"https://discord.com/api/webhooks/{WEBHOOK}/{TOKEN}"
_MENTION = re.compile(r"(?<!\\)@(?:everyone|here)|(?<!\\)<(?:@[!&]?|#)\d+>")
_MESSAGE = {"content", "embeds", "allowed_mentions"}
_EMBED = {"title", "description", "color", "fields", "footer"}
_STATUS = {10003: 404, 10008: 404, 10015: 404, 50027: 401}


def error(code: int, status: int | None = None, method: str | None = None) -> Fault:
    """The message quotes the token, as no Discord does."""
    status = status or _STATUS.get(code, 400)
    body = f'{{"message": "no {TOKEN}", "code": {code}}}'
    return Fault(status, body, "application/json", method=method)


@dataclass(slots=True)
class Posted:
    """A message as its readers have it now."""

    id: str
    content: str
    embeds: list[dict[str, Any]]
    quiet: bool
    """It could mention nobody."""
    edits: int = 0
    thread: str | None = None

    @property
    def color(self) -> int | None:
        return next((int(each["color"]) for each in self.embeds if "color" in each), None)

    @property
    def shown(self) -> str:
        """All words of it, top to bottom."""
        return "\n".join([self.content, *texts(self.embeds)])

    @property
    def mentions(self) -> list[str]:
        return [] if self.quiet else _MENTION.findall(self.content)


@dataclass(frozen=True, slots=True)
class Want:
    """A message that is to be there: every one of ``words`` is shown."""

    words: tuple[str, ...] = ()
    color: int | None = None
    edits: int = 0

    def met_by(self, posted: Posted) -> bool:
        fits = all(word in posted.shown for word in self.words)
        return fits and self.color in {None, posted.color} and self.edits == posted.edits


class FakeDiscord(FakeServer):
    """``async with FakeDiscord() as discord: … api_url=discord.url``

    :param seconds: a clock; given one, more requests in two seconds than ``window`` are refused
    """

    routes = (
        ("POST", "/api/v10/webhooks/{webhook}/{token}"),
        ("PATCH", "/api/v10/webhooks/{webhook}/{token}/messages/{id}"),
        ("DELETE", "/api/v10/webhooks/{webhook}/{token}/messages/{id}"),
    )
    path = "/api/v10"

    def __init__(self, *, seconds: Callable[[], float] | None = None, window: int = 5) -> None:
        super().__init__()
        self.messages: dict[str, Posted] = {}
        self.threads: set[str] = set()
        """The ids of the channel's threads."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and body of every call, those refused included."""
        self._seconds = seconds
        self._most = window
        self._window: list[float] = []

    def delete(self, posted: Posted) -> None:
        """Remove a message, as a person may."""
        del self.messages[posted.id]

    @property
    def only(self) -> Posted:
        """The one message there is."""
        (posted,) = self.messages.values()
        return posted

    def expect(self, *wanted: Want) -> None:
        """These messages are there and no others, and nobody is mentioned."""
        problems = differences(wanted, self.messages.values())
        problems += [f"mentions {each.mentions}: {each}" for each in self.messages.values() if each.mentions]
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return "\n".join(map(str, self.messages.values())) or "nothing"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, {} if request.method == "DELETE" else await request.json()

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append((method, body))

    def _take(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        headers, wait = self._limit()
        if wait:
            refusal = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
            return web.json_response(refusal, status=429, headers=headers)
        code = self._refusal(request, body)
        if code:
            answer = {"message": "no", "code": code}
            return web.json_response(answer, status=_STATUS.get(code, 400), headers=headers)
        if request.method == "DELETE":
            del self.messages[request.match_info["id"]]
            return web.Response(status=204, headers=headers)
        posted = self._edit(request, body) if request.method == "PATCH" else self._post(request, body)
        if request.method == "POST" and request.query.get("wait") != "true":
            return web.Response(status=204, headers=headers)
        return web.json_response({"id": posted.id, "content": posted.content}, headers=headers)

    def _post(self, request: web.Request, body: Mapping[str, Any]) -> Posted:
        posted = Posted(
            str(1_180_000_000_000_000_100 + len(self.calls)),
            body.get("content", ""),
            body.get("embeds", []),
            body.get("allowed_mentions") == {"parse": []},
            thread=request.query.get("thread_id"),
        )
        self.messages[posted.id] = posted
        return posted

    def _edit(self, request: web.Request, body: Mapping[str, Any]) -> Posted:
        """What an edit leaves out stays."""
        posted = self.messages[request.match_info["id"]]
        posted.content = body.get("content", posted.content)
        posted.embeds = body.get("embeds", posted.embeds)
        posted.quiet = body.get("allowed_mentions") == {"parse": []}
        posted.edits += 1
        return posted

    def _limit(self) -> tuple[dict[str, str], float]:
        """So many requests in two seconds. :returns: the headers, and how long to wait if it is too early"""
        if self._seconds is None:
            return {}, 0
        now = self._seconds()
        self._window = [at for at in self._window if at > now - 2]
        wait = self._window[0] + 2 - now if len(self._window) >= self._most else 0.0
        if not wait:
            self._window.append(now)
        return {
            "X-RateLimit-Limit": str(self._most),
            "X-RateLimit-Remaining": str(self._most - len(self._window)),
            "X-RateLimit-Reset-After": f"{self._window[0] + 2 - now:.3f}",
            "X-RateLimit-Bucket": "abcd1234",
            **({"X-RateLimit-Scope": "user", "Retry-After": "2"} if wait else {}),
        }, wait

    def _refusal(self, request: web.Request, body: Mapping[str, Any]) -> int:
        """Discord's code. https://docs.discord.com/developers/topics/opcodes-and-status-codes#json"""
        match = request.match_info
        if match["webhook"] != WEBHOOK:
            return 10015
        if match["token"] != TOKEN:
            return 50027
        thread = request.query.get("thread_id")
        if thread is not None and not thread.isdecimal():
            return 50035
        if thread is not None and thread not in self.threads:
            return 10003
        if request.method != "POST" and (
            match["id"] not in self.messages or self.messages[match["id"]].thread != thread
        ):
            return 10008
        return 0 if request.method == "DELETE" else fault_of(body)


def fault_of(body: Any) -> int:
    """The code of what is wrong with a message, or 0."""
    content, embeds = body.get("content") or "", body.get("embeds", [])
    if not content.strip() and not embeds:
        return 50006
    wrong = (
        not body.keys() <= _MESSAGE
        or len(content) > 2_000
        or len(embeds) > 10
        or not all(map(_valid, embeds))
        or sum(map(len, texts(embeds))) > 6_000
    )
    return 50035 if wrong else 0


def _valid(embed: Mapping[str, Any]) -> bool:
    """https://docs.discord.com/developers/resources/message#embed-object-embed-limits"""
    fields = embed.get("fields", [])
    return (
        embed.keys() <= _EMBED
        and _text(embed.get("title", "x"), 256)
        and _text(embed.get("description", "x"), 4_096)
        and _text(embed.get("footer", {"text": "x"})["text"], 2_048)
        and 0 <= embed.get("color", 0) <= 0xFFFFFF
        and len(fields) <= 25
        and all(_text(each["name"], 256) and _text(each["value"], 1_024) for each in fields)
    )


def _text(value: Any, limit: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= limit


def texts(embeds: list[dict[str, Any]]) -> Iterator[str]:
    """What counts towards the 6,000 characters."""
    for embed in embeds:
        yield from (embed[name] for name in ("title", "description") if name in embed)
        for each in embed.get("fields", []):
            yield from (each["name"], each["value"])
        if "footer" in embed:
            yield embed["footer"]["text"]


__all__ = [
    "CLOSE",
    "HANG",
    "LOST_ANSWER",
    "TOKEN",
    "URL",
    "WEBHOOK",
    "FakeDiscord",
    "Fault",
    "Posted",
    "Want",
    "error",
    "fault_of",
    "http",
    "texts",
]
