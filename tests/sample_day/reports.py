"""The reports of the day, as the commands print them."""

import asyncio
import re
from email import policy
from email.parser import BytesParser

from click.testing import CliRunner
from structlog.testing import capture_logs

from router.cli import main
from tests.gallery.texts import KEY
from tests.sample_day.playing import BEGIN, END, NAME, Day

_MADE = re.compile(r"Made by alert-router \S+ on ")


async def reports_of(day: Day) -> dict[str, str]:
    """Return the content of each example, by the name of its file."""
    return {
        "incident.md": await _command(
            day, "incident", NAME, "severity=critical", "--since", BEGIN, "--until", END, "--owner", "Ada", "--output", "-"
        ),
        "digest.txt": _digest(day),
    }  # fmt: skip


async def _command(day: Day, *arguments: str) -> str:
    """Return what a command prints. It asks the router of the day."""
    environ = {"ALERT_ROUTER_URL": day.service.url}
    with capture_logs():
        found = await asyncio.to_thread(CliRunner(env=environ).invoke, main, list(arguments))
    assert found.exit_code == 0, found.output
    return _without_version(found.stdout)


def _without_version(text: str) -> str:
    return KEY.sub("…", _MADE.sub("Made by alert-router on ", text))


def _digest(day: Day) -> str:
    """Return the digest of Saturday morning as text."""
    mail = next(mail for mail in reversed(day.smtp.mails) if "digest" in mail.subject.casefold())
    message = BytesParser(policy=policy.default).parsebytes(mail.message.as_bytes())
    body = message.get_body(("plain",))
    assert body is not None
    return f"Subject: {mail.subject}\n\n{_without_version(body.get_content())}"
