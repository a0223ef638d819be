"""Digests: what they say, and that a slot's mail is one mail however often it is sent."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from router.channels.email import DigestOptions, EmailChannel, EmailSettings
from router.channels.email_layout import MAX_ATTACHED_BYTES
from router.channels.email_mime import mail_bytes
from router.model import DAY, Alert, Delivered, DigestLine, DigestView
from router.render import Templates
from tests.unit.channels.talk import LEVELS, NOW, TEMPLATES, TOKEN, alert, conversation, destination, digests
from tests.world.fake_smtp import LOST_ANSWER, FakeSmtp, Want, parse, problem

PLACE = destination("digest", DigestOptions.model_validate({"to": ["team@example.com"], "at": "09:00"}))

TIMES = "\N{MULTIPLICATION SIGN}"


def entry(
    each: Alert, fired: int = 1, note: str = "", *, is_new: bool = False, opens_at: int | None = None
) -> DigestLine:
    return DigestLine(
        each, each.labels["severity"], fired, note, is_new, opens_at, "prod", "https://am.example"
    )


def jobs(count: int) -> tuple[DigestLine, ...]:
    return tuple(
        entry(alert(alertname="KubeJobFailed", namespace=f"team-{n % 7}", job_name=f"nightly-{n}"))
        for n in range(count)
    )


def full() -> DigestView:
    return DigestView(
        since=NOW - DAY,
        until=NOW,
        firing=(
            *(
                entry(alert(alertname="DiskFull", severity="warning", instance=f"db-{n}"), is_new=n < 2)
                for n in range(12)
            ),
            entry(alert(alertname="ZoneDown"), is_new=True),
        ),
        ended=(entry(alert(alertname="Blip", severity="info", resolved=True)),),
        flapping=(entry(alert(alertname="Flappy", severity="info", resolved=True), fired=35),),
        held=(
            entry(
                alert(alertname="Slow", severity="warning"),
                note="held until Mon 09:00 (office)",
                opens_at=NOW + 2 * DAY,
            ),
        ),
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


def test_the_subject_counts_by_level_and_names_the_worst() -> None:
    body = render(full()).body
    assert body["subject"] == (
        "Alert digest, Sat 21 Nov: 1 critical, 12 warning firing (3 new): ZoneDown, DiskFull \N{MULTIPLICATION SIGN} 12; "
        "1 flapping, 1 held, 1 ended, 1 never notified"
    )
    for words in (body["text"], body["html"]):
        assert "Fri 20 Nov 09:00 to Sat 21 Nov 09:00, Europe/Berlin" in words


def test_the_text_is_ordered_by_state_severity_and_name() -> None:
    text = render(full()).body["text"]
    in_order = [
        "critical: 1 firing (1 new)", "warning: 12 firing (2 new), 1 held, 1 never notified",
        "STILL FIRING (13) - 3 new", "[critical] ZoneDown on eu-1 - new", f"[warning] DiskFull {TIMES} 12 - 2 new",
        "instance: db-0 (new), db-1 (new), db-2, db-3,", "db-10, db-11", "Silence these 12: ",
        "FLAPPING (1)", "Flappy", "fired 35 times", "HELD (1) - next opening Mon 09:00", "Slow",
        "held until Mon 09:00 (office)", "ENDED (1)", "Blip", "08:00, for 59 min",
        "NEVER NOTIFIED (1) - ended before anyone was notified", "Gone",
    ]  # fmt: skip
    at = 0
    for words in in_order:
        at = text.find(words, at)
        assert at >= 0, f"{words} is missing, or comes too early"


def test_the_html_has_what_the_text_has() -> None:
    html = render(full()).body["html"]
    for words in ("ZoneDown", f"DiskFull {TIMES} 12</strong>", ">2 new</span>", "db-0 (new)", "db-11</span>", "fired 35 times",
                  "held until Mon 09:00", "next opening Mon 09:00", "ended before anyone was notified", "p99 is over 2 s",
                  "Never notified", "cluster=eu-1", "prometheus.example", ">Silence these 12</a>"):  # fmt: skip
        assert words in html


def test_every_one_of_sixty_alerts_is_named() -> None:
    lines = [entry(alert(alertname=f"Rule{n % 5}", instance=f"host-{n}")) for n in range(60)]
    body = render(DigestView(NOW - DAY, NOW, firing=tuple(lines))).body
    for words in (body["text"], body["html"]):
        assert all(re.search(rf"\bhost-{n}\b", words) for n in range(60))


def test_an_empty_digest_says_that_all_is_quiet() -> None:
    body = render(DigestView(NOW - DAY, NOW)).body
    assert body["subject"] == "Alert digest, Sat 21 Nov: all quiet"
    assert "All quiet" in body["text"]
    assert "All quiet" in body["html"]


def test_a_template_that_fails_leaves_a_plain_digest(tmp_path: Any) -> None:
    fails = "{{ nonsense }}{% endblock %}"
    (tmp_path / "digest.txt.j2").write_text(f"{{% block subject %}}{fails}{{% block body %}}{fails}")
    message = render(full(), Templates(levels=LEVELS, timezone="Europe/Berlin", directory=tmp_path))
    assert message.fallback
    assert message.body["subject"].startswith("Alert digest, Fri 20 Nov 09:00 to Sat 21 Nov 09:00")
    for words in (
        "warning: 12 firing (2 new)", "Still firing: 13", f"[warning] DiskFull {TIMES} 12: db-0 (new), db-1 (new), db-2, ",
        "Never notified: 1", "[warning] Gone: eu-1; ",
    ):  # fmt: skip
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
        smtp.expect(Want(("team@example.com",), "Alert digest", ("STILL FIRING (13)", "db-11")))


def test_names_for_which_there_is_no_room_are_counted() -> None:
    view = DigestView(NOW - DAY, NOW, ended=tuple(entry(alert(alertname=f"A{n:03}")) for n in range(1_000)))
    body = render(view).body
    for words in (body["text"], body["html"]):
        shown = len(set(re.findall(r"A\d{3}(?= on |</strong>)", words)))
        counted = re.search(rf"and {1_000 - shown} critical: A\d{{3}}, .*, and (\d+) other names", words)
        assert counted is not None
        assert shown >= 20
        assert int(counted[1]) < 1_000 - shown


# What makes a character take most bytes: base64, quoted-printable, HTML.
_WIDE = ("x", "ü", "警", "🙂", "=", "&", '"', "ü=&")


@pytest.mark.parametrize(
    ("wide", "is_plain"), [*((each, False) for each in _WIDE), ("警", True), ("x", True)]
)
def test_a_digest_of_5000_alerts_is_a_mail_below_100_kb(wide: str, *, is_plain: bool, tmp_path: Path) -> None:
    """Gmail cuts a mail near 102 KB."""
    labels: dict[str, Any] = {f"label{n}": wide * 80 for n in range(10)}
    notes = {"summary": wide * 500, "runbook_url": "https://runbooks.example/" + "'=&" * 500}
    lines = [
        entry(
            alert(
                annotations=notes, alertname=f"{wide * 90}{n % 300}", instance=f"{wide * 60}{n}",
                severity=LEVELS[n % 3], **labels,
            ),
            fired=5, note=wide * 300, is_new=n % 2 == 0,
        )
        for n in range(1_000)
    ]  # fmt: skip
    templates = TEMPLATES
    if is_plain:
        (tmp_path / "digest.txt.j2").write_text("{% block subject %}{{ nonsense }}{% endblock %}")
        templates = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    view = DigestView(NOW - DAY, NOW, *[tuple(lines)] * 5)
    message = render(view, templates)
    assert message.fallback == is_plain
    assert "1000" in message.body["text"]
    assert len(mail_bytes({**message.body, "attachment": ""})) < 100_000
    assert len(message.body["attachment"].encode()) <= MAX_ATTACHED_BYTES + 1
    assert "alerts.txt" in message.body["text"]


@pytest.mark.parametrize("wide", _WIDE)
def test_many_wide_identities_are_a_mail_below_100_kb(wide: str) -> None:
    same = wide * (48 // len(wide))
    lines = [entry(alert(alertname="Job", instance=f"{same}{n}"), is_new=n % 2 == 0) for n in range(2_000)]
    body = render(DigestView(NOW - DAY, NOW, firing=tuple(lines))).body
    assert len(mail_bytes({**body, "attachment": ""})) < 100_000
    for words in (body["text"], unescape(body["html"])):
        (more,) = re.findall(r"and (\d+) more", words)
        assert words.count(same) + int(more) == 2_000
        assert int(more) < 1_970


def test_400_jobs_of_one_name_are_all_named() -> None:
    body = render(DigestView(NOW - DAY, NOW, firing=jobs(400))).body
    for words in (body["text"], unescape(body["html"])):
        assert all(re.search(rf"\bnightly-{n}\b", words) for n in range(400))
        assert "alerts.txt" not in words
    assert body["attachment"] == ""


@pytest.mark.parametrize(
    "lines",
    [jobs(3_000), tuple(entry(alert(alertname=f"nightly-{n}")) for n in range(100))],
    ids=["identities", "entries"],
)
def test_a_digest_that_leaves_something_out_has_a_file(lines: tuple[DigestLine, ...]) -> None:
    body = render(DigestView(NOW - DAY, NOW, firing=lines)).body
    note = "Not all alerts fit into this mail. The attached file alerts.txt has each of them in one line."
    assert body["text"].count(note) == body["html"].count(note) == 1
    assert body["text"].index(note) < body["text"].index("STILL FIRING")
    attached = body["attachment"].splitlines()
    assert attached[0].startswith("Alert digest, Fri 20 Nov 09:00 to Sat 21 Nov 09:00, Europe/Berlin: ")
    assert f"Still firing: {len(lines)}" in attached
    assert sum("nightly-" in each for each in attached[1:]) == len(lines)


def test_the_file_of_a_digest_counts_what_is_beyond_its_size() -> None:
    notes = {"summary": "s" * 900}
    lines = tuple(entry(alert(annotations=notes, alertname="Job", instance=f"i{n}")) for n in range(4_000))
    attached = render(DigestView(NOW - DAY, NOW, firing=lines)).body["attachment"]
    assert len(attached.encode()) <= MAX_ATTACHED_BYTES + 1
    (more,) = re.findall(r"^and (\d+) more lines$", attached, re.MULTILINE)
    assert attached.count("[critical] Job") + int(more) == 4_000


def own_templates(folder: Path, text: str, html: str) -> Templates:
    (folder / "digest.txt.j2").write_text(f"{{% block body %}}{text}{{% endblock %}}")
    (folder / "digest.html.j2").write_text(f"{{% block body %}}{html}{{% endblock %}}")
    return Templates(levels=LEVELS, timezone="Europe/Berlin", directory=folder)


_LOOP = "{% for section in sections %}{{ section.title }} {% for entry in section.entries %}- {{ entry.name }} {% endfor %}"


def test_a_template_without_others_has_their_counts_at_its_end(tmp_path: Path) -> None:
    loop = f"{_LOOP}{{% endfor %}}"
    templates = own_templates(tmp_path, loop, f"<html><body>{loop}</body></html>")
    lines = tuple(entry(alert(alertname=f"<A{n:03}>")) for n in range(100))
    message = render(
        DigestView(NOW - DAY, NOW, firing=lines, ended=(entry(alert(alertname="B", resolved=True)),)),
        templates,
    )
    assert not message.fallback
    assert message.body["html"].count("</body>") == 1
    for words in (message.body["text"], unescape(message.body["html"])):
        assert len(set(re.findall(r"- <A\d{3}>", words))) == 39
        assert words.count("Still firing: and 61 critical: <A039>, ") == 1
        assert "alerts.txt" in words
    assert "A099" in message.body["attachment"]


def test_a_template_with_others_has_their_counts_once(tmp_path: Path) -> None:
    loop = f"{_LOOP}{{% for each in section.others %}}plus {{{{ each }}}}{{% endfor %}}{{% endfor %}}"
    templates = own_templates(tmp_path, loop, loop)
    lines = tuple(entry(alert(alertname=f"<A{n:03}>")) for n in range(100))
    body = render(DigestView(NOW - DAY, NOW, firing=lines), templates).body
    for words in (body["text"], unescape(body["html"])):
        assert words.count("60 critical: <A040>, ") == 1


def test_a_template_that_takes_much_room_keeps_its_entries(tmp_path: Path) -> None:
    """Of the names of the alerts, fewer are shown."""
    each = f"{{% for each in entry.identities %}}<p class='{'x' * 400}'>{{{{ each }}}}</p>{{% endfor %}}"
    loop = f"{{% for section in sections %}}{{% for entry in section.entries %}}{{{{ entry.name }}}} {each}"
    html = f"{loop}{{% if entry.unlisted %}}and {{{{ entry.unlisted }}}} more{{% endif %}}{{% endfor %}}{{% endfor %}}"
    templates = own_templates(tmp_path, f"{_LOOP}{{% endfor %}}", html)
    lines = (*jobs(400), *(entry(alert(alertname=f"Rule{n}", severity="info")) for n in range(20)))
    body = render(DigestView(NOW - DAY, NOW, firing=lines), templates).body
    assert len(mail_bytes({**body, "attachment": ""})) < 100_000
    words = unescape(body["html"])
    assert all(f"Rule{n} " in words for n in range(20))
    (more,) = re.findall(r"and (\d+) more", words)
    assert len(re.findall(r"nightly-\d+", words)) + int(more) == 400
    assert int(more) < 350
    assert "nightly-399" in body["attachment"]


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
