"""Draws what was posted to a webhook: each request with its JSON, the newest first."""

from collections.abc import Iterator

from markupsafe import Markup

from router.channels.drawing import SentMessage, badge, details, joined, pretty_json, tag


def draw(message: SentMessage) -> Markup:
    return joined(part for each in (message, *reversed(message.earlier)) for part in _request(each, message))


def _request(message: SentMessage, newest: SentMessage) -> Iterator[Markup]:
    status, count = str(message.body["status"]), len(message.body["alerts"])
    about = " · ".join(filter(None, [message.at, "POST", f"{count} alert{'' if count == 1 else 's'}"]))
    yield tag("h3", badge(status, status), about)
    body = pretty_json(message.body)
    yield body if message is newest else details("The body", body)
