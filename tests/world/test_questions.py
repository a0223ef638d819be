"""An operator's questions: one page and one command (or request) answer each, as docs/operating.md says."""

import json
import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from router.cli import main
from router.model import HOUR, MINUTE
from tests.world.asking import until_delivered, until_failed
from tests.world.browsing import ReadPage, ask, read
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.fake_slack import http as slack_http
from tests.world.test_failures import BERT

_DOCS = Path(__file__).parents[2] / "docs" / "operating.md"
_ROW = re.compile(
    r"^\| (?P<question>[^|]+\?) \| `(?P<page>/[^`]*)`[^|]*\| `(?P<command>[^`]+)` \|$", re.MULTILINE
)
# What the answer has to say: words of the page, and words of the command. An answer of the API is JSON.
_ANSWERS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "What fires now?": (
        "", ("critical Down on eu-1", "warning Slow on eu-1", "info Backup on eu-1"), ("Down on eu-1", "Slow on eu-1", "Backup on eu-1")
    ),
    "Who was notified of an alert, when, and by which rule?": (
        "Down", ("slack:C0CRITICAL notified Notified at Mon 23 Nov 12:0", "route.routes[0] ("), ("slack:C0CRITICAL  notified\n  Notified at Mon 23 Nov 12:0", "route.routes[0] ("),
    ),
    "Why was a destination not notified, and what happens next?": (
        "Slow", ("Not notified: held until Tue 24 Nov 09:00 by rule route.routes[1]", "It is sent then if it still fires."),
        ("Not notified: held until Tue 24 Nov 09:00 by rule route.routes[1]", "It is sent then if it still fires."),
    ),
    "What is held, and until when?": ("", ("held until Tue 24 Nov 09:00", "Slow on eu-1"), ("held until Tue 24 Nov 09:00", "Slow on eu-1")),
    "How is each destination?": (
        "", ("slack:C0CRITICAL healthy last delivered", "slack:C0WARNINGS unused"), ("slack:C0CRITICAL  Slack C0CRITICAL (oncall)\n  healthy: last delivered", "unused"),
    ),
    "Do alerts still arrive, and from which source not?": (
        "", ("any webhook default not watched",), ('"heartbeat": null', '"state": "not watched"'),
    ),
    "What failed in the last day?": ("", ("1 delivery", "http 503"), ("1 delivery", "http 503")),
    "What will the next digest say?": ("", ("It reports 1 firing alert", "Backup"), ("1 firing", "Backup")),
    "What changed in the rules?": ("", ("came into force", "2 loads"), ('"total": 2', '"actor": ')),
    "Is the file on the disk in force?": ("", ("other files They are not in force", "routes.yaml changed"), ('"is_same_on_disk": false', '"state": "changed"')),
    "Which dead letters are there?": ("", ("1 dead letter", BERT, "no such user"), (BERT, "no such user")),
    "What is open or closed this week?": ("", ("office: closed now", "Opens Tue 24 Nov 2026 09:00"), ("office", "Sat 28 Nov ····")),
    "Which replicas serve, and who holds which lease?": (
        "", ("This is the only router that serves from its database", "serves"), ("This is the only router that serves from its database.",)
    ),
    "Did the last drill succeed?": ("", ("Tests of receivers", "never"), ("There was no drill yet.",)),
    "Do a receiver's messages arrive?": (
        "", ("oncall", "Send a test"), ("slack:C0CRITICAL: TEST delivered after", "no such user", "2 of 3 destinations accepted"),
    ),
}  # fmt: skip


async def incident(world: World) -> None:
    """Start a service with an answer to each question."""
    changed = "to: [oncall@example.com]", f"to: [oncall@example.com, {BERT}]"
    await world.start(lambda rules: rules.replace(*changed))
    world.smtp.refused = {BERT: "550 5.1.1 no such user"}
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    world.clock.advance(5 * MINUTE)
    await until_delivered(world, 3)
    world.clock.advance(10 * HOUR)
    await world.post("Slow", "warning")
    await world.post("Backup", "info")
    await world.reload(lambda rules: rules.replace(*changed).replace("stale_after: 0", "stale_after: 1d"))
    world.write(lambda rules: rules.replace(*changed).replace("stale_after: 0", "stale_after: 2d"))


async def answer_of(world: World, command: str) -> str:
    """Return what a command prints, or what the API answers as indented JSON."""
    if command.startswith("GET "):
        status, found = await ask(world, command.removeprefix("GET "))
        assert status == 200
        return json.dumps(found)
    name, *arguments = shlex.split(command.removeprefix("alert-router "))
    if name == "schedule":  # it reads the file, and asks no service
        given = ["--config", str(world.folder / "routes.yaml"), "--at", "2026-11-23 22:05"]
        return CliRunner().invoke(main, [name, *given, *arguments]).output
    return (await run(world, name, *arguments)).output


async def page_of(world: World, path: str) -> ReadPage:
    page = await read(world, path.partition("#")[0])
    assert page.status == 200
    assert path.partition("#")[2] in {"", *page.ids}
    return page


async def test_each_question_has_one_page_and_one_command(world: World) -> None:
    await incident(world)
    rows = {
        found["question"]: (found["page"], found["command"]) for found in _ROW.finditer(_DOCS.read_text())
    }
    assert rows.keys() == _ANSWERS.keys()
    for question, (page, command) in rows.items():
        name, on_page, printed = _ANSWERS[question]
        shown = (await page_of(world, page.replace("HostDown", name))).text
        assert not [each for each in on_page if each not in shown], f"{question}\n{shown}"
        said = await answer_of(world, command.replace("HostDown", name))
        assert not [each for each in printed if each not in said], f"{question}\n{said}"
