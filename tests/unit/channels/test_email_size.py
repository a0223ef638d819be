"""A mail stays below the size at which mail programs clip it. Every alert is named or counted, and the file has it all."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from router.channels.drawing import SentMessage
from router.channels.email import EMAIL
from router.channels.email_layout import MAX_ATTACHED_BYTES, MAX_MAIL_BYTES
from router.channels.email_mime import mail_bytes
from router.model import (
    Alert,
    Conversation,
    Delivered,
    StormLine,
    StormNews,
    StormView,
)
from router.render import Templates
from tests.unit.channels.talk import LEVELS, alert, conversation
from tests.unit.channels.test_email import ANNA, channel_to, notify, place, render
from tests.world.fake_smtp import FakeSmtp, Want, answer, problem

NOTES = {"impact": "1 of 12 payments fails", "action": "restart it"}
LONG = "why it is slow " * 400


def hosts(number: int, **notes: str) -> list[Alert]:
    return [
        alert(instance=f"n{index}", annotations={"summary": f"host {index} is slow", **NOTES, **notes})
        for index in range(number)
    ]


def group(alerts: list[Alert], **more: Any) -> Conversation:
    return conversation(*alerts, group_labels={"cluster": "eu-1"}, **more)


class _Shown(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(html: str) -> str:
    parser = _Shown()
    parser.feed(html)
    return parser.text


def check_size(body: Any) -> None:
    raw = mail_bytes(body)
    assert problem(raw) == ""
    assert len(mail_bytes({**body, "attachment": ""})) <= MAX_MAIL_BYTES
    assert len(body["attachment"].encode()) <= MAX_ATTACHED_BYTES + 1
    assert len(raw) < 5_000_000


def accounted(part: str) -> int:
    """Return how many alerts a part names, and how many it counts."""
    named = set(re.findall(r"\bn(\d+)\b", part.replace("n0, n1, n2, …", "")))
    return len(named) + sum(map(int, re.findall(r"\band (\d+) more", part)))


@pytest.mark.parametrize("number", [1, 5, 40])
def test_a_group_that_fits_is_whole_in_both_parts(number: int) -> None:
    body = render(group(hosts(number))).body
    check_size(body)
    assert body["attachment"] == ""
    for part in (body["text"], shown(body["html"])):
        assert all(f"host {index} is slow" in part for index in range(number))
        assert "alerts.txt" not in part


@pytest.mark.parametrize("number", [400, 5_000])
@pytest.mark.parametrize("resolved", [False, True])
def test_alerts_without_room_for_an_entry_are_named_or_counted(number: int, resolved: bool) -> None:
    alerts = [replace(each, status=alert(resolved=resolved).status) for each in hosts(number)]
    body = render(group(alerts)).body
    check_size(body)
    for part in (body["text"], shown(body["html"])):
        assert accounted(part) == number
        assert part.count("The attached file alerts.txt has it all") == 1
        assert len(re.findall(r"host \d+ is slow", part)) >= 50
        assert part.index("1 of 12 payments fails") < 1_000
        if number == 400:  # there is room for all names
            assert " more" not in part
    attached = body["attachment"]
    assert all(f"host {index} is slow" in attached for index in range(number))
    assert len(mail_bytes({**body, "attachment": ""})) > MAX_MAIL_BYTES * 9 // 10


def test_a_long_text_is_cut_with_a_count_and_whole_in_the_file() -> None:
    body = render(group(hosts(5, description=LONG + "end", log="x " * 40_000))).body
    check_size(body)
    for part in (body["text"], shown(body["html"])):
        assert "characters of the value)" in part
        assert accounted(part) == 5
        bare = re.findall(r"…(?! \(\d+ more characters of the \w+\))", part.replace("n0, n1, n2, …", ""))
        assert bare == []
    assert LONG + "end" in body["attachment"]
    assert "x " * 39_999 in body["attachment"]


def test_many_long_alerts_keep_an_entry_each() -> None:
    alerts = [replace(each, annotations={**each.annotations, "description": f"{LONG}{number}"}) for number, each in enumerate(hosts(40))]  # fmt: skip
    body = render(group(alerts)).body
    check_size(body)
    for part in (body["text"], shown(body["html"])):
        assert len(re.findall(r"host \d+ is slow", part)) == 40
        assert len(re.findall(r"more characters of the description\)", part)) == 40
    assert all(f"{LONG}{number}" in body["attachment"] for number in range(40))


def test_alerts_of_many_names_are_grouped_by_name() -> None:
    alerts = [
        alert(alertname=f"Alert{index % 8}", severity=LEVELS[index % 3], instance=f"n{index}", annotations={"summary": "s" * 200})
        for index in range(1_200)
    ]  # fmt: skip
    text = render(group(alerts)).body["text"]
    assert accounted(text) == 1_200
    assert re.search(r"^- FIRING info: Alert5 \N{MULTIPLICATION SIGN} \d+: n\d+, n\d+", text, re.MULTILINE)


def test_more_names_than_have_room_are_counted() -> None:
    body = render(group([alert(alertname=f"Alert-n{index}", annotations={"summary": "s" * 400}) for index in range(2_000)])).body  # fmt: skip
    check_size(body)
    found = re.search(r"^- and (\d+) more, with (\d+) other names$", body["text"], re.MULTILINE)
    assert found is not None
    assert found[1] == found[2]
    assert accounted(body["text"]) >= 2_000


def test_an_address_that_is_too_long_is_counted_and_in_the_file() -> None:
    alerts = hosts(30, runbook_url="https://x.example/" + "y" * 70_000)
    body = render(group(alerts)).body
    check_size(body)
    assert "1 link is too long for this mail." in body["text"]
    assert "1 link is too long for this mail." in body["html"]
    assert "https://x.example/" + "y" * 70_000 in body["attachment"]


def test_one_huge_alert_fits() -> None:
    labels = {f"label{number}": "ü" * 290 for number in range(300)}
    for notes in ({"description": "🙂" * 200_000}, {f"note {n}": "<&>" * 300 for n in range(300)}):
        huge = alert(annotations=notes)
        body = render(conversation(replace(huge, labels={**huge.labels, **labels}))).body
        check_size(body)
        assert "alerts.txt" in body["text"]
        assert body["text"].startswith("HighLatency")


def test_long_names_of_annotations_that_begin_alike_all_stay() -> None:
    notes = {"n" * 300 + str(number): f"note-{number}" for number in range(9)}
    body = render(group([replace(each, annotations=notes) for each in hosts(900)])).body
    assert "alerts.txt" in body["text"]
    for part in (body["text"], body["html"]):
        assert all(f"note-{number}" in part for number in range(9))


def test_the_file_is_bounded_and_counts_the_rest() -> None:
    alerts = [replace(each, annotations={"description": f"d{number} " + "x" * 3_000}) for number, each in enumerate(hosts(3_000))]  # fmt: skip
    body = render(group(alerts)).body
    check_size(body)
    assert accounted(body["attachment"]) == 3_000


def test_very_many_recipients_leave_room_for_the_alerts() -> None:
    to = place(*(f"someone-{number}@example.com" for number in range(3_000)))
    body = render(group(hosts(400)), to=to).body
    assert problem(mail_bytes(body)) == ""
    assert accounted(body["text"]) == 400


OLD = (
    "{% block body %}{% for alert in alerts %}{{ alert.labels.instance }}\n"
    + "y" * 300
    + " {% endfor %}{% endblock %}"
)


def test_a_template_without_the_variables_for_what_is_cut_shows_it(tmp_path: Path) -> None:
    subject = "{% block subject %}{{ title }}{% endblock %}"
    (tmp_path / "email.txt.j2").write_text(subject + OLD)
    (tmp_path / "email.html.j2").write_text(OLD)
    templates = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(group(hosts(600)), templates)
    assert not message.fallback
    check_size(message.body)
    for part in (message.body["text"], shown(message.body["html"])):
        assert accounted(part) == 600
    assert "The attached file alerts.txt has it all" in message.body["html"]


def test_plain_facts_fit_and_name_all(tmp_path: Path) -> None:
    (tmp_path / "email.txt.j2").write_text("{% block body %}{{ nonsense }}{% endblock %}")
    message = render(
        group(hosts(300, description=LONG)), Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    )
    assert message.fallback
    assert message.body["html"] == ""
    check_size(message.body)
    assert accounted(message.body["text"]) == 300
    assert message.body["attachment"].count(LONG.strip()) == 300


def test_names_of_a_storm_without_room_are_counted_and_in_the_file() -> None:
    lines = tuple(
        StormLine({"alertname": f"Down{index % 3}", "instance": f"n{index}"}, "critical", 1, "")
        for index in range(9_000)
    )
    view = StormView(9_000, 9_000, lines[:500], over=False, resolved=0, news=StormNews(lines))
    body = render(conversation(alerts=(), storm=view)).body
    check_size(body)
    for part in (body["text"], shown(body["html"])):
        assert len(set(re.findall(r"\bn\d+", part))) > 1_000
        assert re.search(r"and \d+ more", part)
        assert "alerts.txt" in part
    assert set(re.findall(r"\bn(\d+)", body["attachment"])) == set(map(str, range(9_000)))


async def test_a_mail_that_is_too_large_goes_without_its_file_and_says_so() -> None:
    async with FakeSmtp() as smtp:
        smtp.fail(answer("552 5.3.4 too big"))
        channel = channel_to(smtp.smarthost)
        assert isinstance(await notify(channel, group(hosts(400))), Delivered)
        note = "The mail server refused the whole mail, so it came without the HTML and the file alerts.txt."
        smtp.expect(Want((ANNA,), "HighLatency", (note,)))
    assert smtp.only.message.get_content_type() == "text/plain"


async def test_the_file_is_an_attachment_beside_both_parts() -> None:
    async with FakeSmtp() as smtp:
        await notify(channel_to(smtp.smarthost), group(hosts(400)))
    mail = smtp.only
    assert [part.get_content_type() for part in mail.message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/plain",
    ]  # fmt: skip
    (file,) = mail.message.iter_attachments()
    assert file.get_filename() == "alerts.txt"
    assert mail.attached.count("is slow") == 400
    assert accounted(mail.text) == accounted(shown(mail.html)) == 400


def test_the_preview_shows_the_attached_file() -> None:
    for number, is_attached in ((5, False), (400, True)):
        message = render(group(hosts(number)))
        drawn = EMAIL.draw(SentMessage(message.body, frame=Markup("<p>frame</p>")))
        assert ("Attached: alerts.txt" in drawn) is is_attached
