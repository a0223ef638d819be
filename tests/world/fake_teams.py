"""Teams behind a workflow: it answers 202, and refuses what Teams refuses. It keeps the cards that people would see.

What it wants is stated here a second time on purpose: the channel must not be judged by its own words.
https://adaptivecards.io/explorer/AdaptiveCard.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, differences, is_web_address
from tests.world.fake_server import http as answer

SIGNATURE = "signature-of-nobody"
_PATH = "/workflows/1/triggers/manual/paths/invoke"
# https://learn.microsoft.com/en-us/connectors/teams/: 28 KB. 24,453 bytes on the wire
# counted as 28,897 in https://github.com/MicrosoftDocs/msteams-docs/issues/11274.
MAX_COUNTED_BYTES = 28 * 1024
COUNTED_PER_BYTE = 28_897 / 24_453
_COLORS = {"Attention", "Warning", "Accent", "Good"}


def http(status: int, **headers: str) -> Fault:
    """It quotes the signature, as no provider should."""
    return answer(status, f"no, sig={SIGNATURE}", "text/plain", **headers)


@dataclass(frozen=True, slots=True)
class Want:
    """A card that is to be there: its colour, and words of it."""

    color: str
    words: tuple[str, ...]

    def met_by(self, card: Mapping[str, Any]) -> bool:
        text = shown(card)
        return card["body"][0].get("color") == self.color and all(each in text for each in self.words)


class FakeTeams(FakeServer):
    """``async with FakeTeams() as teams: … webhook_url=teams.url``"""

    routes = (("POST", _PATH),)
    path = f"{_PATH}?sig={SIGNATURE}"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.cards: list[Mapping[str, Any]] = []
        self.refusals: list[str] = []

    def expect(self, *wanted: Want) -> None:
        """These cards are there, and no others; nothing was refused."""
        problems = [f"refused: {refusal}" for refusal in self.refusals]
        problems += differences(wanted, self.cards)
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return "\n".join(map(shown, self.cards))

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, await request.read()

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append(body)

    def _take(self, request: web.Request, body: Any) -> web.Response:
        if request.query.get("sig") != SIGNATURE:
            self.refusals.append("the signature is wrong")
            return web.Response(status=401)
        if found := problems(body):
            self.refusals += found
            return web.Response(status=400, text=", ".join(found))
        self.cards.append(json.loads(body)["attachments"][0]["content"])
        return web.Response(status=202)


def problems(raw: bytes) -> list[str]:
    """What Teams has against a body; nothing: it is shown."""
    if len(raw) * COUNTED_PER_BYTE > MAX_COUNTED_BYTES:
        return ["RequestEntityTooLarge"]
    body = json.loads(raw)
    if body.keys() != {"type", "attachments"} or body["type"] != "message" or len(body["attachments"]) != 1:
        return ["it is no message with one attachment"]
    (attachment,) = body["attachments"]
    card = attachment["content"]
    if (
        attachment["contentType"] != "application/vnd.microsoft.card.adaptive"
        or card["type"] != "AdaptiveCard"
    ):
        return ["it is no adaptive card"]
    found = [] if card["version"] in {"1.2", "1.3", "1.4"} else ["Teams knows no such version"]
    found += [fault for each in card["body"] for fault in _faults(each)] or (
        [] if card["body"] else ["empty"]
    )
    actions = card.get("actions", [])
    found += ["more than six actions"] * (len(actions) > 6)
    for each in actions:
        if each["type"] != "Action.OpenUrl" or not is_web_address(each["url"]) or not each["title"]:
            found.append("an action opens nothing")
    return found


def _faults(element: Mapping[str, Any]) -> Iterator[str]:
    match element["type"]:
        case "Container":
            for each in element["items"]:
                yield from _faults(each)
        case "FactSet":
            if not all(fact["title"] and isinstance(fact["value"], str) for fact in element["facts"]):
                yield "a fact has no title"
        case "TextBlock":
            if not element["text"] or not element["wrap"]:
                yield "a text is empty, or cut"
            if element.get("color", "Good") not in _COLORS:
                yield "no such colour"
        case _:
            yield "no such element"


def shown(card: Mapping[str, Any]) -> str:
    """The words of a card, without their escapes, and its addresses."""
    texts = [*_texts(card["body"]), *(f"{each['title']} {each['url']}" for each in card.get("actions", ()))]
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", "\n".join(texts))


def _texts(elements: Any) -> Iterator[str]:
    for each in elements:
        if "text" in each:
            yield each["text"]
        yield from _texts(each.get("items", ()))
        yield from (f"{fact['title']}={fact['value']}" for fact in each.get("facts", ()))


__all__ = [
    "CLOSE",
    "HANG",
    "LOST_ANSWER",
    "SIGNATURE",
    "FakeTeams",
    "Fault",
    "Want",
    "http",
    "problems",
    "shown",
]
