"""The tutorial is run command by command, with fakes in place of the providers."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.processes import ROOT, free_port, needs_alertmanager
from tests.acceptance.tutorial import Reader, blocks_of, missing
from tests.world.fake_pagerduty import KEY, FakePagerDuty
from tests.world.fake_slack import TOKEN, FakeSlack
from tests.world.fake_smtp import FakeSmtp

PAGE = ROOT / "docs/tutorial.md"
BY_HAND = ["install", "credentials"]


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    router, alertmanager = free_port(), free_port()
    kept = {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ}
    reader = Reader(
        tmp_path,
        {
            **kept,
            "HOME": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "ALERT_ROUTER_LISTEN": f"127.0.0.1:{router}",
            "ALERT_ROUTER_URL": f"http://127.0.0.1:{router}",
        },
        {"127.0.0.1:9099": f"127.0.0.1:{router}", "127.0.0.1:9093": f"127.0.0.1:{alertmanager}"},
    )
    yield reader
    await reader.leave()


def point_at_fakes(rules: Path, slack: FakeSlack, pagerduty: FakePagerDuty, smtp: FakeSmtp) -> None:
    """Add the addresses of the fakes to the sections of ``channels:``, by the settings that there are for it."""
    text = rules.read_text()
    for old, new in (
        ('"${SLACK_BOT_TOKEN}"', f'"${{SLACK_BOT_TOKEN}}", api_url: "{slack.url}"'),
        ("pagerduty: {}", f'pagerduty: {{events_url: "{pagerduty.url}"}}'),
        ('"localhost:25"', f'"{smtp.smarthost}"'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    rules.write_text(text)


@needs_alertmanager
async def test_the_tutorial_works_command_by_command(reader: Reader) -> None:
    async with FakeSlack({"C0TUTORIAL": "alerts"}) as slack, FakePagerDuty() as pagerduty, FakeSmtp() as smtp:
        for block in blocks_of(PAGE.read_text()):
            if block.by_hand == "credentials":
                (reader.home / "alert-tutorial/credentials").write_text(
                    f"export SLACK_BOT_TOKEN={TOKEN}\nexport PAGERDUTY_ROUTING_KEY={KEY}\n"
                )
                point_at_fakes(reader.home / "alert-tutorial/routes.yaml", slack, pagerduty, smtp)
            if not block.by_hand:
                await reader.follow(block)
        (incident,) = pagerduty.incidents[KEY]
        await pagerduty.until(lambda: not incident.open)
        assert "DiskFull" in incident.summary
        (message,) = slack.in_channel("C0TUTORIAL")
        assert "DiskFull" in message.read
        assert "DiskSlow" not in message.read
        assert [mail.subject for mail in smtp.mails if "DiskFull" not in mail.subject] == []
        assert len(smtp.mails) == 2
    assert reader.run >= 20


def test_what_is_done_by_hand_is_marked_and_counted() -> None:
    blocks = blocks_of(PAGE.read_text())
    assert [block.by_hand for block in blocks if block.by_hand] == BY_HAND
    assert PAGE.read_text().count("**By hand, on your phone:**") == 1


@pytest.mark.parametrize(
    "block",
    ["```console\n$ ls\n```\n", "```\nls\n```\n", '```sh title="later"\nls\n```\n', "```bash\nls\n```\n"],
)
def test_a_block_that_is_neither_run_nor_marked_is_an_error(block: str) -> None:
    with pytest.raises(AssertionError):
        blocks_of(block)


def test_expected_lines_must_appear_in_their_order() -> None:
    assert missing(("a … c", "", "d"), "x\n  a b c\nd\n") == ""
    assert missing(("a  c",), "a c\n") == ""
    assert missing(("d", "a"), "a\nd\n") == "a"
    assert missing(("a",), "ab\n") == "a"
