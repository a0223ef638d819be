"""The messages of a storm name every group that they notify of, within the limits of the vendors."""

import re
from pathlib import Path
from typing import Any

import pytest

from router.channels.slack import SLACK, SlackOptions, SlackSettings
from router.channels.slack_storm import STORM_ROOM
from router.model import Conversation, Delivered, Message, StormLine, StormNews, StormView
from router.render import Templates
from router.render.folding import key_of, room_of
from tests.unit.channels.talk import TEMPLATES, conversation, destination
from tests.unit.channels.test_email import ANNA, BERT, channel_to, notify, place
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

POSTED = {"channel": "C0CRITICAL", "ts": "1.1", "shown": 1, "threaded": 1}


def host(number: int, text: str = "", level: str = "critical") -> StormLine:
    return StormLine(
        {"alertname": "HostDown", "instance": f"n{number}{text}"}, level, 1, "https://am.example"
    )


def as_many_as_fit(text: str) -> tuple[StormLine, ...]:
    """Of hosts with such names, what a message of a storm takes along."""
    lines: list[StormLine] = []
    room = STORM_ROOM
    while True:
        line = host(len(lines), text)
        room -= room_of(line, begins=key_of(line) not in map(key_of, lines[:1]))
        if room < 0:
            return tuple(lines)
        lines.append(line)


def stormy(news: StormNews, standing: tuple[StormLine, ...] = (), **more: Any) -> Conversation:
    over = more.pop("over", False)
    groups = more.pop("groups", len(standing))
    view = StormView(groups, groups, standing[:500], over=over, resolved=len(news.resolved), news=news)
    return conversation(alerts=(), storm=view, **more)


def slack(talk: Conversation, templates: Templates = TEMPLATES) -> Message:
    channel = SLACK.make(SlackSettings.model_validate({"token": "t"}))
    return channel.render(destination("slack", SlackOptions(channel="C0CRITICAL")), talk, templates)


def named(*bodies: Any) -> set[int]:
    return {int(number) for number in re.findall(r"\bn(\d+)", str(bodies).replace("\\n", " "))}


@pytest.mark.parametrize("text", ["", ".example.com:9100", "&<>" * 20, "ü🙂 " * 60, "x" * 1_000])
@pytest.mark.parametrize("remote", [{}, POSTED])
def test_slack_takes_a_message_and_one_reply_that_name_all(text: str, remote: dict[str, Any]) -> None:
    lines = as_many_as_fit(text)
    fake = FakeSlack()
    for news in (
        StormNews(firing=lines),
        StormNews(resolved=lines),
        StormNews(lines[::3], lines[1::3], lines[2::3]),
    ):
        body = slack(stormy(news, (*lines, *lines), version=2, remote=remote)).body
        sent = [{"text": body["text"], "attachments": body["attachments"]}, *body["parts"]]
        assert not [fault for each in sent if (fault := fake.refuses(each))]
        assert len(body["parts"]) <= 1
        assert named(body["parts"] if remote else sent) == set(range(len(lines)))


@pytest.mark.parametrize("remote", [{}, POSTED])
def test_a_template_that_fails_names_all_the_same(tmp_path: Path, remote: dict[str, Any]) -> None:
    shipped = (Path(__file__).parents[3] / "templates" / "storm.txt.j2").read_text()
    (tmp_path / "storm.txt.j2").write_text(shipped.replace("{{ total }}", "{{ nothing }}"))
    broken = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    lines = tuple(map(host, range(250)))
    talk = stormy(StormNews(firing=lines), lines, version=2, remote=remote)
    message = slack(talk, broken)
    assert message.fallback
    assert named(message.body["parts"] if remote else message.body) == set(range(250))
    mail = channel_to("localhost:25").render(place(), talk, broken)
    assert mail.fallback
    assert named(mail.body["text"]) == set(range(250))
    assert "HostDown" in mail.body["subject"]


def test_more_groups_than_a_message_shows_are_counted() -> None:
    lines = tuple(map(host, range(2_000)))
    body = slack(stormy(StormNews(firing=lines[:3]), lines, version=2, remote=POSTED, groups=2_000)).body
    assert "2000 groups firing" in body["text"]
    assert "… and 1500 more" in str(body["attachments"]).replace("...", "…")
    mail = channel_to("localhost:25").render(place(), stormy(StormNews(lines[:3]), lines), TEMPLATES)
    assert "... and 1500 more" in mail.body["text"]
    assert len(mail.body["text"]) < 100_000


def test_the_subject_has_level_and_names() -> None:
    def subject(news: StormNews, *standing: StormLine, **more: Any) -> str:
        talk = stormy(news, standing, **more)
        return str(channel_to("localhost:25").render(place(), talk, TEMPLATES).body["subject"])

    times, one, other = "\N{MULTIPLICATION SIGN}", host(1), host(2)
    warning = host(3, level="warning")
    assert subject(StormNews((one, other)), one, other) == (
        f"[critical] Alert storm: 2 groups firing: HostDown {times} 2"
    )
    assert subject(StormNews((warning,), (), (one,)), warning, remote={"first": "<1>"}) == (
        "[warning] Alert storm: 1 group firing; 1 new: HostDown; 1 resolved: HostDown"
    )
    assert subject(StormNews(resolved=(other,)), over=True, remote={"first": "<1>"}) == (
        "[critical] Storm over: 1 group resolved; the last: HostDown"
    )


async def test_ends_are_mailed_only_to_recipients_of_an_earlier_mail() -> None:
    to = place(ANNA, BERT)
    one, other = host(1), host(2)
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)

        async def mailed(news: StormNews, *standing: StormLine, remote: Any = ()) -> Delivered:
            outcome = await notify(channel, stormy(news, standing, version=2, remote=dict(remote)), to)
            assert isinstance(outcome, Delivered)
            return outcome

        smtp.refused = {BERT: "550 5.1.1 unknown"}
        first = await mailed(StormNews((one,)), one)
        assert [each.recipient for each in first.refused] == [BERT]
        smtp.recover()
        ends = await mailed(StormNews((), (), (one,)), remote=first.remote)
        assert list(smtp.mails[-1].recipients) == [ANNA], "Bert heard of no beginning"
        news = await mailed(StormNews((other,), (), (one,)), other, remote=ends.remote)
        assert list(smtp.mails[-1].recipients) == [ANNA, BERT]
        await mailed(StormNews((), (), (other,)), remote=news.remote)
        assert list(smtp.mails[-1].recipients) == [ANNA, BERT]
