"""Digests: what they say, and that a slot's mail is one mail however often it is sent."""

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given, settings

from router.channels.email import DigestOptions, EmailChannel, EmailSettings
from router.channels.email_mime import mail_bytes
from router.model import DAY, HOUR, Alert, Delivered, DigestLine, DigestView
from router.render import Templates
from tests.unit.channels.talk import LEVELS, NOW, TEMPLATES, TOKEN, alert, conversation, destination, digests
from tests.world.fake_smtp import LOST_ANSWER, FakeSmtp, Want, parse, problem

PLACE = destination("digest", DigestOptions.model_validate({"to": ["team@example.com"], "at": "09:00"}))


def entry(each: Alert, fired: int = 1, note: str = "") -> DigestLine:
    return DigestLine(each, each.labels["severity"], fired, note)


def full() -> DigestView:
    return DigestView(
        since=NOW - DAY,
        until=NOW,
        firing=(
            *(entry(alert(alertname="DiskFull", severity="warning", instance=f"db-{n}")) for n in range(12)),
            entry(alert(alertname="ZoneDown")),
        ),
        ended=(entry(alert(alertname="Blip", severity="info", resolved=True)),),
        flapping=(entry(alert(alertname="Flappy", severity="info", resolved=True), fired=7),),
        held=(entry(alert(alertname="Slow", severity="warning"), note="held until Mon 09:00 (office)"),),
        obsolete=(
            entry(
                alert(alertname="Gone", severity="warning", resolved=True),
                note="ended before anyone was notified",
            ),
        ),
    )


def channel_to(smarthost: str) -> EmailChannel:
    given = {
        "from": "alerts@router.example",
        "smarthost": smarthost,
        "tls": "none",
        "hello": "router.example",
    }
    return EmailChannel(EmailSettings.model_validate(given))


def render(view: DigestView, templates: Templates = TEMPLATES) -> Any:
    message = channel_to("localhost:25").render(PLACE, conversation(alerts=(), digest=view), templates)
    assert message.body == json.loads(json.dumps(message.body))
    return message


def test_the_subject_counts_and_the_period_is_in_words() -> None:
    body = render(full()).body
    assert body["subject"] == (
        "Alert digest, Sat 21 Nov: 13 firing, 1 flapping, 1 ended, 1 held, 1 not notified"
    )
    for words in (body["text"], body["html"]):
        assert "Fri 20 Nov 09:00 to Sat 21 Nov 09:00, Europe/Berlin" in words


def test_every_section_lists_the_most_urgent_first_with_names_folded() -> None:
    text = render(full()).body["text"]
    in_order = [
        "STILL FIRING (13)", "[critical] ZoneDown", "[warning] DiskFull x 12",
        "FLAPPING (1)", "Flappy", "fired 7 times", "CAME AND WENT (1)", "Blip",
        "HELD (1)", "Slow", "\n    cluster=eu-1\n", "held until Mon 09:00 (office)",
        "NOBODY WAS NOTIFIED (1)", "Gone", "ended before anyone was notified",
    ]  # fmt: skip
    at = 0
    for words in in_order:
        at = text.find(words, at)
        assert at >= 0, f"{words} is missing, or comes too early"


def test_the_html_holds_what_the_text_holds() -> None:
    html = render(full()).body["html"]
    for words in ("ZoneDown", "DiskFull</strong>", "12", "fired 7 times", "held until Mon 09:00", "ended before anyone", "p99 is over 2 s",
                  "Nobody was notified", "cluster=eu-1", "prometheus.example"):  # fmt: skip
        assert words in html


def test_of_one_urgency_the_oldest_comes_first() -> None:
    young, old = alert(alertname="Young"), alert(alertname="Zzz")
    old = Alert(old.fingerprint, old.labels, old.annotations, old.status, NOW - 5 * HOUR)
    text = render(DigestView(NOW - DAY, NOW, firing=(entry(young), entry(old)))).body["text"]
    assert text.index("Zzz") < text.index("Young")
    assert "(5 h)" in text


def test_an_empty_digest_says_that_all_is_quiet() -> None:
    body = render(DigestView(NOW - DAY, NOW)).body
    assert body["subject"] == "Alert digest, Sat 21 Nov: all quiet"
    assert "All quiet" in body["text"]
    assert "All quiet" in body["html"]


def test_a_template_that_fails_leaves_a_plain_digest(tmp_path: Any) -> None:
    (tmp_path / "digest.txt.j2").write_text("{% block subject %}{{ nonsense }}{% endblock %}")
    message = render(full(), Templates(levels=LEVELS, timezone="Europe/Berlin", directory=tmp_path))
    assert message.fallback
    assert message.body["subject"].startswith("Alert digest, Fri 20 Nov 09:00 to Sat 21 Nov 09:00")
    for words in (
        "Still firing: 13",
        "[warning] DiskFull x 12",
        "Nobody was notified: 1",
        "[warning] Gone x 1",
    ):
        assert words in message.body["text"]


async def test_a_slot_sent_twice_is_one_mail_by_its_id() -> None:
    talk = conversation(alerts=(), digest=full())
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        message = channel.render(PLACE, talk, TEMPLATES)
        smtp.fail(LOST_ANSWER)
        await channel.send(PLACE, talk, message)
        assert isinstance(await channel.send(PLACE, talk, message), Delivered)
        assert [mail.id for mail in smtp.mails] == [f"<{TOKEN}.1.1-0123abcd@router.example>"] * 2
        smtp.expect(Want(("team@example.com",), "Alert digest", ("STILL FIRING (13)",)))


def test_a_thousand_names_are_summed_up() -> None:
    view = DigestView(NOW - DAY, NOW, ended=tuple(entry(alert(alertname=f"A{n}")) for n in range(1_000)))
    body = render(view).body
    assert "and 900 more of these" in body["text"]
    assert "and 900 more of these" in body["html"]


def test_what_a_mail_does_not_hold_is_counted(tmp_path: Path) -> None:
    """Section by section; a plain digest lists all names, so it is the one that can grow so long."""
    (tmp_path / "digest.txt.j2").write_text("{% block subject %}{{ nonsense }}{% endblock %}")
    lines = tuple(entry(alert(alertname=f"A{n}-" + "x" * 300)) for n in range(2_000))
    view = DigestView(NOW - DAY, NOW, firing=lines[:1_990], ended=lines[1_990:])
    body = render(view, Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)).body
    row = re.compile(r"^  \[critical\] A\d+-x+ x 1$", re.MULTILINE)
    counted = re.search(r"and (\d+) more alerts without a line\n", body["text"])
    assert counted is not None
    listed = len(row.findall(body["text"]))
    assert listed + int(counted[1]) == 2_000
    assert listed > 100
    assert "A1999-x" in body["text"]
    assert len(row.findall(body["attachment"])) == 2_000


@settings(deadline=None)
@given(digests)
def test_no_label_breaks_a_digest(view: DigestView) -> None:
    message = render(view)
    assert not message.fallback
    raw = mail_bytes(message.body)
    assert problem(raw) == ""
    assert str(parse(raw)["Subject"]).strip() == message.body["subject"]


def test_the_digests_key_is_its_receivers() -> None:
    assert PLACE.key == "digest:oncall"
