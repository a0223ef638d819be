"""``alert-router init``: writes a first routes.yaml."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.shared import Failure, json_option, now, print_json
from router.package import docs_page

if TYPE_CHECKING:
    from router.rules.rules_from_answers import FirstAnswers, NeededSecret

_CHANNELS = ("slack", "pagerduty", "email", "teams", "telegram", "discord", "webhook")
_NONE = "none"
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")
_LOCALTIME = Path("/etc/localtime")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("routes.yaml"))
@click.option(
    "--channel",
    "channels",
    multiple=True,
    type=click.Choice(_CHANNELS),
    help="How to notify people; can be repeated.",
)
@click.option("--timezone", help="The time zone of schedules and messages.  [default: of this machine]")
@click.option("--hours", help="Business hours from Monday to Friday, or none.  [default: 09:00-18:00]")
@click.option("--digest", help="When the daily digest is sent, or none; needs email.  [default: 08:00]")
@click.option("--source", help="The name of an Alertmanager on another machine, which sends a token.")
@click.option("--user", help="The name of an administrator, who signs in with a password.")
@click.option("--slack-channel", help="The id of a Slack channel.")
@click.option("--email-to", multiple=True, help="An address that gets the mails; can be repeated.")
@click.option(
    "--email-from", help="The address that the mails come from.  [default: alert-router@ the same domain]"
)
@click.option("--smarthost", default="localhost:25", show_default=True, help="The mail server: HOST:PORT.")
@click.option("--telegram-chat", help="The number of a Telegram chat, or @name.")
@click.option(
    "--secrets",
    type=click.Choice(["env", "files", "inline"]),
    default="env",
    show_default=True,
    help="Where the secrets are: in environment variables, in files of the folder secrets, or in the file itself "
    "(then they are asked for, or taken from the variables now).",
)
@click.option("--force", is_flag=True, help="Replace a file of this name.")
@json_option
def init(  # noqa: PLR0913  (click passes each option as an argument)
    *, file: Path, channels: tuple[str, ...], timezone: str | None, hours: str | None, digest: str | None,
    source: str | None, user: str | None, slack_channel: str | None, email_to: tuple[str, ...], email_from: str | None,
    smarthost: str, telegram_chat: str | None, secrets: str, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write a first routes.yaml to FILE, and say what to do next.

    Without --channel it asks a few questions on a terminal. Secrets stay outside the file, unless --secrets inline asks
    for that.

    Exit code 1 if the file exists, or an answer can't be used.
    """
    from router.rules.rules_from_answers import FirstAnswers, SecretPlace, first_rules, needed_secrets

    if file.is_dir():
        raise Failure(f"{file} is a folder; give the name of a file in it")
    if file.exists() and not force:
        raise Failure(f"{file} exists; give another FILE, or --force to replace it")
    if not channels and not sys.stdin.isatty():
        raise click.UsageError(f"give at least one --channel: {', '.join(_CHANNELS)}")
    if not channels:
        channels = _ask_channels()
        timezone = timezone or click.prompt("Time zone", default=_timezone_here(), err=True)
        hours = hours or click.prompt("Business hours, or none", default="09:00-18:00", err=True)
        if "email" in channels:
            digest = digest or click.prompt("Time of the daily digest, or none", default="08:00", err=True)
        source = source or _ask_name("Name of an Alertmanager on another machine")
        user = user or _ask_name("Name of an administrator who signs in from another machine")
    elif digest not in {None, _NONE} and "email" not in channels:
        raise click.UsageError("--digest needs --channel email: digests are mails")
    slack_channel, email_to, telegram_chat = _destinations(channels, slack_channel, email_to, telegram_chat)
    place = SecretPlace(secrets)
    answers = FirstAnswers(
        channels=tuple(dict.fromkeys(channels)), timezone=timezone or _timezone_here(), hours=_hours_of(hours),
        digest_at=_time_of(digest or "08:00", "--digest"), source=source or None, user=user or None,
        slack_channel=slack_channel, email_to=email_to,
        email_from=email_from or f"alert-router@{email_to[0].rpartition('@')[2] if email_to else ''}",
        smarthost=smarthost, telegram_chat=telegram_chat, secrets=place,
    )  # fmt: skip
    if place == SecretPlace.INLINE:
        values = {each.name: _secret_value(each.name, each.what) for each in needed_secrets(answers)}
        answers = replace(answers, inline=values)
    _write(file, first_rules(answers), is_private=place == SecretPlace.INLINE, force=force)
    if as_json:
        print_json({"file": str(file), "needed": [each.name for each in _outside(answers)]})
    else:
        click.echo("\n".join(_what_next(file, answers)))


def _outside(answers: "FirstAnswers") -> "list[NeededSecret]":
    """Return the secrets that the file does not contain."""
    from router.rules.rules_from_answers import SecretPlace, needed_secrets

    return [] if answers.secrets == SecretPlace.INLINE else needed_secrets(answers)


def _destinations(
    channels: tuple[str, ...], slack_channel: str | None, email_to: tuple[str, ...], telegram_chat: str | None
) -> tuple[str, tuple[str, ...], str]:
    """Return who gets the messages. Ask for what the options lack."""
    if "slack" in channels and not slack_channel:
        slack_channel = _setting("--slack-channel", "Id of the Slack channel, like C0123456789")
    if "email" in channels and not email_to:
        email_to = (_setting("--email-to", "Address that gets the mails"),)
    if "telegram" in channels and not telegram_chat:
        telegram_chat = _setting("--telegram-chat", "Number of the Telegram chat")
    return slack_channel or "", email_to, telegram_chat or ""


def _setting(option: str, what: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{option} is missing: {what}")
    value: str = click.prompt(what, err=True)
    return value


def _ask_channels() -> tuple[str, ...]:
    click.echo(f"How are people notified? Channels: {', '.join(_CHANNELS)}", err=True)
    while True:
        text: str = click.prompt("Channels, with commas", default="email", err=True)
        names = tuple(filter(None, re.split(r"[\s,]+", text.lower())))
        unknown = [name for name in names if name not in _CHANNELS]
        if names and not unknown:
            return names
        click.echo(f"There is no channel {unknown[0]!r}.", err=True)


def _ask_name(what: str) -> str | None:
    name: str = click.prompt(f"{what} (empty: none)", default="", show_default=False, err=True)
    return name or None


def _timezone_here() -> str:
    """Return the time zone of this machine; UTC if it is unknown."""
    from zoneinfo import available_timezones

    here = os.environ.get("TZ", "").lstrip(":")
    if not here and _LOCALTIME.is_symlink():
        here = str(_LOCALTIME.resolve()).partition("zoneinfo/")[2]
    return here if here in available_timezones() else "UTC"


def _time_of(text: str, option: str) -> str | None:
    if text == _NONE:
        return None
    if not _TIME.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a time; write it like 08:00, or {_NONE}", param_hint=option
        )
    return text


def _hours_of(text: str | None) -> tuple[str, str] | None:
    if text == _NONE:
        return None
    begin, _, end = (text or "09:00-18:00").partition("-")
    if not (_TIME.fullmatch(begin) and _TIME.fullmatch(end) and begin < end):
        raise click.BadParameter(
            f"{text!r} is not a range of business hours; write it like 09:00-18:00, or {_NONE}",
            param_hint="--hours",
        )
    return begin, end


def _secret_value(name: str, what: str) -> str:
    """Return a secret that the file is to contain."""
    value = os.environ.get(name, "")
    if not value and sys.stdin.isatty():
        value = click.prompt(f"{name}: {what}", hide_input=True, err=True)
    if not value:
        raise Failure(f"the environment variable {name} is not set; set it to {what}")
    if "${" in value:
        raise Failure(
            f"{name} contains ${{, which routes.yaml would take for a variable; use --secrets env or files"
        )
    return value


def _write(file: Path, text: str, *, is_private: bool, force: bool) -> None:
    """Write the file, if `alert-router check` finds no error in it. :raises Failure: it can't be written, or has errors"""
    from router.config import show_problem
    from router.rules.check import check_file

    try:
        data = text.encode()
    except UnicodeEncodeError:  # Python keeps such bytes of an argument as surrogates
        raise Failure("an answer is not UTF-8; nothing is written") from None
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        mode = 0o600 if is_private else 0o666  # less the umask
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb"
        ) as out:
            out.write(data)
        checked = check_file(part, os.environ, now())
        errors = [each for each in checked.problems if not each.is_warning and not each.is_note]
        if errors:
            shown = "\n".join(show_problem(each, checked.texts) for each in errors).replace(
                part.name, file.name
            )
            raise Failure(f"The answers can't be used, and nothing is written:\n{shown}")
        if file.exists() and not force:
            raise Failure(f"{file} exists; give another FILE, or --force to replace it")
        part.replace(file)
    except OSError as error:
        raise Failure(
            f"{file}: {error.strerror or error}; give a file in a folder that can be written"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _what_next(file: Path, answers: "FirstAnswers") -> Iterator[str]:
    from router.rules.rules_from_answers import SecretPlace

    option = "" if file == Path("routes.yaml") else f" --config {shlex.quote(str(file))}"
    yield f"{file} is written. Critical alerts go to {', '.join(answers.channels)}. What to do next:"
    yield ""
    yield f"Look at it:           alert-router serve{option} --preview --sample   (nothing is sent)"
    if needed := _outside(answers):
        is_env = answers.secrets == SecretPlace.ENV
        yield (
            "Set these variables for it:"
            if is_env
            else f"Write these files to the folder {file.parent / 'secrets'}, so that only the router may read them:"
        )
        yield from (f"  {each.name}: {each.what}" for each in needed)
    yield f"Check it:             alert-router check{option}"
    yield f"Start it:             alert-router serve{option}"
    if answers.source or answers.user:
        yield "  With --listen :9099 it accepts requests from other machines; then give a certificate with --tls-cert and --tls-key."
    yield "Let Alertmanager post to it, in alertmanager.yml:"
    yield "  receivers:"
    yield "    - name: alert-router"
    yield "      webhook_configs:"
    yield "        - url: http://127.0.0.1:9099/webhook   # its address, as Alertmanager reaches it"
    yield "          send_resolved: true"
    if answers.source:
        yield "          http_config: {authorization: {credentials: …}}   # the token of WEBHOOK_TOKEN"
    yield f"All keys and credentials: {docs_page('configuration')}, {docs_page('channels')}"


COMMANDS = (init,)
