"""``alert-router render``: shows the messages of a receiver, and sends nothing."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from router.cli.shared import (
    Failure,
    at_option,
    config_option,
    json_option,
    mistakes_shown,
    now,
    print_json,
    stdout_has_colors,
)

if TYPE_CHECKING:
    from router.rules.receiver_messages import ReceiverMessage


@click.command()
@config_option
@click.argument("receiver")
@click.option(
    "--alert",
    "alerts",
    type=click.File("rb"),
    help="The alerts: the body of a webhook, or one alert, as JSON; - is standard input.  [default: samples]",
)
@click.option(
    "--status",
    type=click.Choice(["firing", "resolved"]),
    help="The status of all alerts, instead of their own.",
)
@at_option
@click.option(
    "--open", "in_browser", is_flag=True, help="Show the messages in the browser, as the preview does."
)
@json_option
def render(
    *, config: Path, receiver: str, alerts: IO[bytes] | None, status: str | None, at: str | None, in_browser: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show the message that each destination of a receiver would get.

    Example: alert-router render oncall --alert webhook.json. Needs no credentials, and sends nothing. Exit code 1 if the
    alerts can't be read, or if a template fails.
    """
    if in_browser and as_json:
        raise click.UsageError("give --open or --json, not both")
    from router.config import load
    from router.model import Status
    from router.render import TemplateError
    from router.rules.moments import parse_moment
    from router.rules.receiver_messages import ReceiverRenderer, webhook_of

    with mistakes_shown():
        loaded = load(config, environ=os.environ, now=now(), preview=True)
        try:
            renderer = ReceiverRenderer(loaded, receiver, loaded.open_templates())
        except TemplateError as error:
            raise Failure(str(error)) from None
        zone, wanted = ZoneInfo(loaded.timezone), Status(status) if status is not None else None
        moment = parse_moment(at, zone) if at is not None else now()
        if alerts is None:
            messages = renderer.of_samples(wanted)
        else:
            messages = renderer.of_webhook(webhook_of(alerts.read(), moment), moment, wanted)
    if as_json:
        print_json(list(map(_as_json, messages)))
    elif in_browser:
        _open_page(receiver, messages, zone)
    else:
        click.echo("\n\n".join(_as_text(each, zone, color=stdout_has_colors()) for each in messages))
    failed = {each.destination.key for each in messages if each.entry is not None and each.entry.fallback}
    for key in sorted(failed):
        click.echo(
            f"{key}: the template fails, the plain facts are sent; alert-router check says where", err=True
        )
    sys.exit(1 if failed else 0)


def _as_json(message: "ReceiverMessage") -> dict[str, Any]:
    entry = message.entry
    return {
        "destination": message.destination.key,
        "channel": message.destination.channel,
        "sample": message.about or None,
        "body": dict(entry.body) if entry is not None else None,
        "earlier": [dict(body) for _, body in entry.earlier] if entry is not None else [],
        "template_failed": entry is not None and entry.fallback,
        "not_sent": message.why_none or None,
    }


def _as_text(message: "ReceiverMessage", zone: ZoneInfo, *, color: bool) -> str:
    head = _head(message)
    return "\n\n".join([click.style(head, bold=True) if color else head, *_parts(message, zone)])


def _head(message: "ReceiverMessage") -> str:
    return f"=== {message.destination.key}" + (f" (sample: {message.about})" if message.about else "")


def _parts(message: "ReceiverMessage", zone: ZoneInfo) -> Iterator[str]:
    from router.channels import REGISTRY
    from router.channels.cards import shown_message
    from router.channels.drawing_text import text_of

    if message.entry is None:
        yield message.why_none
        return
    spec = REGISTRY[message.entry.channel]
    if notification := spec.notification(message.entry.body):
        yield f"Notification: {notification}"
    yield text_of(spec.draw(shown_message(message.entry, zone)))


def _open_page(receiver: str, messages: Sequence["ReceiverMessage"], zone: ZoneInfo) -> None:
    """Write the messages to a page in a temporary file, and open it. The file stays: the browser reads it later."""
    import tempfile
    import webbrowser

    from router.channels.cards import card, note_card
    from router.cli.message_page import page_with_cards

    cards = [
        note_card(_head(each), each.why_none)
        if each.entry is None
        else card(each.entry, zone, lead=each.about)
        for each in messages
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="alert-router-", suffix=".html", encoding="utf-8", delete=False
    ) as file:
        file.write(page_with_cards(f"What {receiver} would get", cards))
    if webbrowser.open(Path(file.name).as_uri()):
        click.echo(file.name)
    else:
        click.echo(f"No browser can be opened here. Open this file in one: {file.name}")


COMMANDS = (render,)
