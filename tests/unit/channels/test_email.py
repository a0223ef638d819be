"""Email, over real sockets to a real SMTP server that refuses what mail systems refuse."""

import asyncio
import base64
import json
import re
import ssl
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from router.channels.email import EmailChannel, EmailOptions, EmailSettings
from router.channels.email_layout import MAX_MAIL_BYTES, MAX_SUBJECT_CHARS
from router.channels.email_mime import mail_bytes
from router.model import (
    HOUR,
    Broken,
    Conversation,
    Delivered,
    Destination,
    Outcome,
    Refusal,
    Rejected,
    Retry,
    ShownAlert,
    StormView,
)
from router.render import Templates
from tests.unit.channels.talk import (
    LEVELS,
    NOW,
    TEMPLATES,
    TOKEN,
    alert,
    conversation,
    conversations,
    destination,
    shown,
)
from tests.waiting import outwaited
from tests.world.fake_anything import Anything, fall_silent, say
from tests.world.fake_anything import smtp as speak_smtp
from tests.world.fake_smtp import (
    CLOSE,
    HANG,
    LOST_ANSWER,
    PASSWORD,
    USER,
    FakeSmtp,
    Fault,
    Want,
    answer,
    parse,
    problem,
)

ANNA, BERT = "anna@example.com", "bert@example.com"
FIRST = f"<{TOKEN}.1.1-0123abcd@router.example>"
TITLE = "HighLatency (cluster=eu-1)"


def place(*to: str) -> Destination:
    return destination("email", EmailOptions.model_validate({"to": to or (ANNA,)}))


def channel_to(smarthost: str, patience: float = 10, **more: Any) -> EmailChannel:
    given = {
        "from": "Alerts <alerts@router.example>",
        "smarthost": smarthost,
        "tls": "none",
        "hello": "router.example",
    }
    return EmailChannel(EmailSettings.model_validate({**given, **more}), timeout=patience)  # fmt: skip


async def notify(channel: EmailChannel, talk: Conversation, to: Destination | None = None) -> Outcome:
    to = to or place()
    return await channel.send(to, talk, channel.render(to, talk, TEMPLATES))


def render(talk: Conversation, templates: Templates = TEMPLATES, to: Destination | None = None) -> Any:
    message = channel_to("localhost:25").render(to or place(), talk, templates)
    assert message.body == json.loads(json.dumps(message.body))
    return message


async def test_a_mail_says_it_all_in_text_and_in_html() -> None:
    notes = {"summary": "p99 < 2 s & more", "description": "It is slow.", "runbook_url": "https://runbooks.example/x"}  # fmt: skip
    talk = conversation(
        alert(annotations=notes, instance="a"), alert(annotations=notes, instance="b", resolved=True)
    )
    async with FakeSmtp() as smtp:
        assert isinstance(
            await notify(channel_to(smtp.smarthost), talk, place(ANNA, f"Bert <{BERT}>")), Delivered
        )
        smtp.expect(Want((ANNA, BERT), "[FIRING:1] critical: HighLatency on a (cluster=eu-1; 1 resolved)", ("1 firing · 1 resolved", "It is slow.")))  # fmt: skip
    mail = smtp.only
    assert mail.sender == "alerts@router.example"
    assert mail.message["From"] == "Alerts <alerts@router.example>"
    assert mail.message["To"] == f"{ANNA}, Bert <{BERT}>"
    assert mail.message["Date"] == "Sat, 21 Nov 2026 08:00:00 +0000"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["List-Id"] == f"<email-{ANNA}-{BERT}.alert-router.router.example>".replace("@", "-")
    assert mail.message.get_content_type() == "multipart/alternative"
    facts = ["p99", "It is slow.", "runbooks.example/x", "instance", "eu-1", "prometheus.example", "silences/new",
             "Europe/Berlin", "oncall", "08:00", "09:00"]  # fmt: skip
    for words in (mail.text, mail.html):
        assert [fact for fact in facts if fact not in words] == []
    assert "p99 < 2 s & more" in mail.text
    assert "p99 &lt; 2 s &amp; more" in mail.html


async def test_later_mails_stand_in_the_thread_of_the_first() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        outcome = await notify(channel, conversation())
        assert outcome == Delivered({"first": FIRST})
        assert isinstance(outcome, Delivered)
        over = conversation(
            alert(resolved=True, alertname="Other"),
            version=2,
            remote=outcome.remote,
            group_labels={"cluster": "eu-1"},
        )
        assert await notify(channel, over) == outcome
    first, last = smtp.mails
    assert (first.id, last.id) == (FIRST, f"<{TOKEN}.1.2-0123abcd@router.example>")
    assert "In-Reply-To" not in first.message
    assert (last.message["In-Reply-To"], last.message["References"]) == (FIRST, FIRST)
    assert last.subject == "[RESOLVED] Other (cluster=eu-1) after 59 min"


async def test_a_thread_that_an_earlier_version_began_goes_on() -> None:
    """Its remote state has the end of the first subject, which subjects no longer repeat."""
    async with FakeSmtp() as smtp:
        over = conversation(
            alert(resolved=True), version=2, remote={"first": "<1@x.example>", "stem": "Old title"}
        )
        assert await notify(channel_to(smtp.smarthost), over) == Delivered({"first": "<1@x.example>"})
    assert smtp.only.message["References"] == smtp.only.message["In-Reply-To"] == "<1@x.example>"
    assert smtp.only.subject == "[RESOLVED] HighLatency (cluster=eu-1) after 59 min"


def test_the_subject_names_what_fires_now_and_where() -> None:
    """Not what fired first, nor what has ended."""
    ended = [alert(resolved=True, alertname=name, severity="info") for name in ("AAA", "BBB", "CCC")]
    fires = alert(alertname="ZZZdown", instance="web-1")
    mild = [alert(alertname="Mild", severity="warning", instance=f"web-{number}") for number in range(3)]
    talk = conversation(
        *ended, fires, *mild, version=2, remote={"first": FIRST}, group_labels={"cluster": "eu-1"}
    )
    assert render(talk).body["subject"] == (
        "[FIRING:4] critical: ZZZdown on web-1 (cluster=eu-1; +3 warnings, 3 resolved)"
    )


def test_a_long_subject_counts_what_it_cuts() -> None:
    subject = render(conversation(alert(), group_labels={"zone": "z" * 400})).body["subject"]
    assert len(subject) <= MAX_SUBJECT_CHARS
    assert re.fullmatch(
        r"\[FIRING:1] critical: HighLatency.+z+… \(\d+ more characters of the subject\)", subject
    )


def test_every_annotation_is_in_both_parts() -> None:
    """Those that all alerts share once, the others at their alert."""
    shared = {"summary": "budget burns", "impact": "1 of 12 payments fails", "action": "roll back\nthen wait",
              "runbook": "wiki/SLO-burn"}  # fmt: skip
    alerts = [alert(instance=name, annotations={**shared, "value": f"{name} is 14.4"}) for name in ("a", "b")]
    body = render(conversation(*alerts)).body
    for words in (body["text"], body["html"]):
        for fact in ("budget burns", "1 of 12 payments fails", "roll back\nthen wait", "wiki/SLO-burn"):
            assert words.count(fact) == 1
        for name in ("impact:", "action:", "a is 14.4", "b is 14.4"):
            assert name in words


def test_links_are_those_of_the_alert_they_stand_beside() -> None:
    """The silence says what it mutes, and is gone when all is over."""
    alerts = [
        replace(
            alert(instance=name, annotations={"runbook_url": f"https://rb.example/{name}"}), generator_url=""
        )
        for name in ("a", "b")
    ]
    body = render(conversation(*alerts)).body
    assert (
        "\nRunbook: https://rb.example/a\nSilence these 2: https://alertmanager.example/#/silences/new"
        in body["text"]
    )
    first, second = body["text"].split("FIRING: instance=")[1:]
    assert "https://rb.example" not in first
    assert "\n    Runbook: https://rb.example/b\n" in second
    assert body["html"].count("https://rb.example/b") == 1
    over = render(conversation(*(alert(instance=name, resolved=True) for name in "ab"))).body
    assert "ilence" not in over["text"] + over["html"]


def test_an_address_that_no_provider_opens_is_no_link() -> None:
    odd = replace(
        alert(annotations={"runbook_url": "https://x.example:99999/"}), generator_url="http://:9090/graph"
    )
    body = render(conversation(odd, external_url="http://:9093")).body
    assert "href" not in body["html"]
    assert "runbook_url: https://x.example:99999/" in body["text"]


def test_a_later_mail_says_what_is_new() -> None:
    old = ShownAlert(alert(instance="a"), "critical", news=False)
    new = [ShownAlert(alert(instance=name), "critical", news=True) for name in "bcde"]
    ended = ShownAlert(alert(instance="f", resolved=True), "critical", news=True)
    few = render(conversation(alerts=(old, new[0], ended), version=2, remote={"first": FIRST})).body
    many = render(conversation(alerts=(old, *new, ended), version=2, remote={"first": FIRST})).body
    for part in ("text", "html"):
        assert "Since the last mail: 🔴 new: b; ✅ resolved: f after 59 min" in few[part]
        assert "Since the last mail: 4 new, 1 resolved" in many[part]
    assert len(re.findall(r"^FIRING: .* - new$", many["text"], re.MULTILINE)) == 4


def test_one_alert_is_said_once() -> None:
    text = render(conversation(alert(instance="a"))).body["text"]
    assert text.startswith(
        "HighLatency on a (cluster=eu-1)\nFIRING - critical - since 08:00 (1 h)\n\np99 is over 2 s\n"
    )
    assert text.count("p99 is over 2 s") == 1
    over = render(conversation(alert(instance="a", resolved=True))).body["text"]
    assert "\nRESOLVED after 59 min, at 08:59\n" in over


def test_nothing_is_called_resolved_while_alertmanager_hides_alerts() -> None:
    body = render(conversation(alert(resolved=True), truncated=3)).body
    assert body["subject"] == "[FIRING:0+] critical: HighLatency \N{MULTIPLICATION SIGN} 1+ (cluster=eu-1)"
    assert "RESOLVED: HighLatency" in body["text"]
    assert "3 more not shown by Alertmanager" in body["text"]
    assert "3 more" in body["html"]


def test_what_was_held_says_since_when() -> None:
    talk = conversation(alerts=(replace(shown(alert())[0], held_since=NOW - HOUR),))
    body = render(talk).body
    assert "Held since 08:00" in body["text"]
    assert "Held since 08:00" in body["html"]


def test_the_colour_is_that_of_the_level_and_green_at_the_end() -> None:
    tops = [render(conversation(alert(severity=level))).body["html"] for level in LEVELS]
    tops.append(render(conversation(alert(resolved=True))).body["html"])
    colours = [html.split("border-top:6px solid ")[1][:7] for html in tops]
    assert colours == ["#c9252d", "#b35c00", "#2f6fd0", "#1c7f54"]


@settings(deadline=None)
@given(conversations)
def test_no_label_breaks_a_header_or_a_body(talk: Conversation) -> None:
    message = render(talk)
    assert not message.fallback
    raw = mail_bytes(message.body)
    assert problem(raw) == ""
    parsed = parse(raw)
    assert str(parsed["Subject"]).strip() == message.body["subject"]
    assert len(message.body["subject"]) <= MAX_SUBJECT_CHARS
    assert len(mail_bytes({**message.body, "attachment": ""})) <= MAX_MAIL_BYTES
    assert "Bcc" not in parsed
    assert set(parsed.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Id", "MIME-Version", "Content-Type",
    }  # fmt: skip
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == message.body["text"]
    assert (message.body["attachment"] != "") is ("alerts.txt" in message.body["text"])


def test_an_encoded_word_in_a_label_stays_what_it_is() -> None:
    evil = "=?utf-8?q?x=0D=0ABcc:_eve=40example.com=0D=0A=0D=0Abody?="
    parsed = parse(mail_bytes(render(conversation(alert(alertname=evil))).body))
    assert "Bcc" not in parsed
    assert evil in str(parsed["Subject"])


@settings(deadline=None)
@given(conversations)
def test_no_label_puts_markup_into_the_html(talk: Conversation) -> None:
    tags = Tags()
    tags.feed(render(talk).body["html"])
    assert tags.seen <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "div",
        "p",
        "h1",
        "span",
        "strong",
        "em",
        "a",
    }
    assert all(address.startswith(("http://", "https://")) for address in tags.addresses)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses |= {value or "" for name, value in attrs if name == "href"}


def test_a_mail_whose_html_fails_keeps_the_words_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "email.html.j2").write_text("{% block body %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(conversation(alert()), broken)
    assert message.fallback
    assert message.body["html"] == ""
    assert (message.body["subject"], message.body["text"]) == (
        (whole := render(conversation(alert()), Templates(levels=LEVELS, timezone="UTC"))).body["subject"],
        whole.body["text"],
    )


def test_a_template_that_fails_leaves_a_plain_mail(tmp_path: Path) -> None:
    (tmp_path / "email.txt.j2").write_text("{% block body %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(conversation(alert(), alert(resolved=True, instance="b"), truncated=2), broken)
    assert message.fallback
    assert message.body["subject"] == "[FIRING:1+] critical: HighLatency × 1+ (cluster=eu-1; 1 resolved)"
    assert message.body["html"] == ""
    for words in ("cluster=eu-1", "instance=b", "p99 is over 2 s", "2 more not shown"):
        assert words in message.body["text"]
    assert problem(mail_bytes(message.body)) == ""


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (answer("451 4.3.0 try later"), Retry("smtp 451")),
        (answer("554 5.7.1 no"), Broken("smtp 554: refused by policy")),
        (answer("550 5.7.26 unauthenticated mail"), Broken("smtp 550: refused by policy")),
        (answer("550 5.4.5 Daily sending limit exceeded"), Broken("smtp 550: refused by policy")),
        (
            answer("554 Message rejected: Email address is not verified"),
            Broken("smtp 554: refused by policy"),
        ),
        (answer("550 relaying denied", at="RCPT"), Broken("smtp 550: refused by policy")),
        (
            answer("554 5.7.1 <localhost>: Helo command rejected", at="RCPT"),
            Broken("smtp 554: refused by policy"),
        ),
        (
            answer("504 5.5.2 <localhost>: Helo command rejected", at="RCPT"),
            Broken("smtp 504: refused by policy"),
        ),
        (answer("550 5.1.8 <a@b>: Domain not found", at="RCPT"), Broken("smtp 550: refused by policy")),
        (answer("550 5.1.1 unknown", at="RCPT"), Broken("smtp 550: all recipients refused")),
        (answer("550 5.1.1 unknown"), Broken("smtp 550: mail refused")),
        (answer("552 5.2.2 mailbox full"), Broken("smtp 552: mail refused")),
        (answer("550 5.1.8 no such sender", at="MAIL"), Broken("smtp 550: sender refused")),
        (answer("450 later", at="MAIL"), Retry("smtp 450: sender refused")),
        (answer("502 what", at="MAIL"), Retry("smtp 502: sender refused")),
        (answer("530 5.7.0 log in first", at="RCPT"), Broken("smtp 530: authentication")),
        (answer("538 5.7.11 encrypt first"), Broken("smtp 538: authentication")),
        (answer("599 what"), Broken("smtp 599: mail refused")),
        (answer("503 what"), Retry("smtp 503")),
        (answer("530 5.7.0 log in first", at="MAIL"), Broken("smtp 530: authentication")),
        (answer("299 what", at="DATA"), Retry("bad answer", ambiguous=True)),
        (Fault(at="MAIL"), Retry("disconnected")),
        (Fault(at="RCPT"), Retry("disconnected")),
        (CLOSE, Retry("disconnected", ambiguous=True)),
        (LOST_ANSWER, Retry("disconnected", ambiguous=True)),
        (answer("421 going down", at="RCPT"), Retry("smtp 421")),
    ],
)
async def test_what_a_smarthost_may_answer_is_an_outcome_after_one_attempt(
    fault: Fault, outcome: Outcome
) -> None:
    async with FakeSmtp() as smtp:
        smtp.fail(fault)
        channel = channel_to(smtp.smarthost)
        assert await notify(channel, conversation()) == outcome
        assert smtp.commands.count("MAIL alerts@router.example") == 1
        smtp.recover()
        assert isinstance(await notify(channel, conversation()), Delivered)
        smtp.expect(Want((ANNA,), TITLE))


@pytest.mark.parametrize(
    "refusal", ["552 5.3.4 too big", "523 too big", "554 5.3.4 too big", "550 5.2.3 too big"]
)
async def test_a_mail_that_is_too_large_goes_without_its_html(refusal: str) -> None:
    """Once more, in the same attempt, with the same Message-ID; if that is too large as well, it is rejected."""
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.fail(answer(refusal))
        assert isinstance(await notify(channel, conversation()), Delivered)
        assert (smtp.only.id, smtp.only.message.get_content_type()) == (FIRST, "text/plain")
        smtp.fail(answer(refusal), answer(refusal))
        assert await notify(channel, conversation()) == Rejected(f"smtp {refusal[:3]}: too large")
        assert smtp.commands.count("DATA") == 4


async def test_a_mail_whose_content_is_refused_goes_plain_and_is_then_rejected() -> None:
    """It is the mail that is refused: others may get through."""
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.fail(answer("550 5.6.0 odd html"))
        assert isinstance(await notify(channel, conversation()), Delivered)
        smtp.fail(answer("550 5.6.0 odd"), answer("550 5.6.0 odd"))
        assert await notify(channel, conversation()) == Rejected("smtp 550: content refused")


async def test_a_plain_mail_that_is_too_large_is_not_sent_twice(tmp_path: Path) -> None:
    (tmp_path / "email.html.j2").write_text("{% block body %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.fail(answer("552 5.3.4 too big"))
        message = channel.render(place(), conversation(), broken)
        assert await channel.send(place(), conversation(), message) == Rejected("smtp 552: too large")
        assert smtp.commands.count("DATA") == 1


async def test_a_mail_too_large_for_some_goes_plain_to_all_who_lack_it() -> None:
    async with FakeSmtp() as smtp:
        smtp.refused = {BERT: "451 4.7.1 greylisted"}
        smtp.fail(answer("552 5.3.4 too big"))
        outcome = await notify(channel_to(smtp.smarthost), conversation(), place(ANNA, BERT))
        assert isinstance(outcome, Retry)
        assert outcome.remote is not None
        assert [each.recipient for each in outcome.late] == [BERT]
        smtp.expect(Want((ANNA,), TITLE))


async def test_an_accepted_mail_is_delivered_even_if_quit_fails() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        for fault in (Fault(at="QUIT"), answer("500 what", at="QUIT"), answer("421 bye", at="QUIT")):
            smtp.fail(fault)
            assert isinstance(await notify(channel, conversation()), Delivered)


@pytest.mark.parametrize(("at", "ambiguous"), [("MAIL", False), ("RCPT", False), ("DATA", True)])
async def test_a_silent_smarthost_is_ambiguous_after_the_mail_was_sent(at: str, ambiguous: bool) -> None:
    async with FakeSmtp() as smtp:
        smtp.fail(replace(HANG, at=at))
        outcome = await outwaited(
            notify(channel_to(smtp.smarthost, patience=10), conversation()),
            smtp.until(lambda: any(each.startswith(at) for each in smtp.commands)),
        )
        assert outcome == Retry("timeout", ambiguous=ambiguous)


async def test_a_mail_that_is_cancelled_is_not_sent_to_its_end() -> None:
    """The smarthost reads slowly, so a part of the mail still waits in the router."""
    asked, goes_on, ended, content = asyncio.Event(), asyncio.Event(), asyncio.Event(), bytearray()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tcp = cast("asyncio.Transport", writer.transport)
        writer.write(b"354 go on\r\n")
        tcp.pause_reading()
        asked.set()
        await goes_on.wait()
        tcp.resume_reading()
        with suppress(OSError):
            while more := await reader.read(2**16):
                content.extend(more)
        ended.set()

    async with Anything() as smarthost:
        smarthost.speak = speak_smtp("DATA", read_late)
        channel, to = channel_to(smarthost.address), place()
        message = channel.render(to, conversation(), TEMPLATES)
        message = replace(message, body={**message.body, "attachment": "long\n" * 4_000_000})
        sending = asyncio.create_task(channel.send(to, conversation(), message))
        await asked.wait()
        for _ in range(20):
            await asyncio.sleep(0)  # real time: none passes; the mail is written
        sending.cancel()
        await asyncio.wait([sending])
        goes_on.set()
        await ended.wait()
    assert content
    assert not content.endswith(b"\r\n.\r\n")


async def test_a_missing_greeting_is_a_connect_timeout() -> None:
    async with Anything() as smarthost:
        smarthost.speak = fall_silent
        assert await notify(channel_to(smarthost.address), conversation()) == Retry("connect timeout")


@pytest.mark.parametrize(
    ("greeting", "outcome"),
    [
        (b"554 go away\r\n", Broken("smtp 554")),
        (b"421 too busy\r\n", Retry("smtp 421")),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Retry("bad answer")),
        (b"", Retry("connection failed")),
    ],
)
async def test_a_refused_connection_is_no_refused_mail(greeting: bytes, outcome: Outcome) -> None:
    async with Anything() as smarthost:
        smarthost.speak = say(greeting)
        assert await notify(channel_to(smarthost.address), conversation()) == outcome


async def test_a_closed_port_is_a_failed_connection(unused_tcp_port: int) -> None:
    assert await notify(channel_to(f"127.0.0.1:{unused_tcp_port}"), conversation()) == Retry(
        "connection failed"
    )


async def test_all_refused_for_good_is_broken_and_for_now_is_not() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.refused = {ANNA: "550 5.1.1 unknown", BERT: "550 5.1.1 unknown"}
        outcome = await notify(channel, conversation(), place(ANNA, BERT))
        assert outcome == Broken("smtp 550: all recipients refused")
        smtp.refused[BERT] = "452 4.2.2 mailbox full"
        assert await notify(channel, conversation(), place(ANNA, BERT)) == Retry("smtp 452")
        smtp.expect()


async def test_the_whole_answer_is_kept_for_people_and_the_label_is_clean() -> None:
    async with FakeSmtp() as smtp:
        smtp.refused = {ANNA: f"550 5.1.1 <{ANNA}>: queue id AB2"}
        outcome = await notify(channel_to(smtp.smarthost), conversation())
    assert isinstance(outcome, Broken)
    assert outcome.reason == "smtp 550: all recipients refused"
    assert outcome.words == f"550 5.1.1 <{ANNA}>: queue id AB2"


async def test_policy_refusals_share_one_cause_and_a_mailbox_does_not() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        for text, cause in (
            ("554 5.7.1 no", "email"),
            ("550 relaying denied", "email"),
            ("550 5.1.1 unknown", ""),
        ):
            smtp.refused = {ANNA: text}
            outcome = await notify(channel, conversation())
            assert isinstance(outcome, Broken)
            assert outcome.cause == cause


async def test_one_refused_for_good_does_not_keep_the_others_from_knowing() -> None:
    async with FakeSmtp() as smtp:
        for text in ("550 5.1.1 unknown", "550 5.7.1 not for you", "550 no"):
            smtp.refused = {BERT: text}
            outcome = await notify(channel_to(smtp.smarthost), conversation(), place(ANNA, BERT))
            assert outcome == Delivered({"first": FIRST}, (Refusal(BERT, "smtp 550"),))
            assert isinstance(outcome, Delivered)
            assert outcome.refused[0].words == text
        smtp.expect(Want((ANNA,), TITLE))


async def test_a_temporarily_refused_recipient_alone_is_tried_again() -> None:
    carl = "carl@example.com"
    to = place(ANNA, BERT, carl)
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.refused = {BERT: "451 4.7.1 greylisted", carl: "550 5.1.1 unknown"}
        outcome = await notify(channel, conversation(), to)
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.ambiguous) == ("smtp 451: some recipients", True)
        assert outcome.refused == (Refusal(carl, "smtp 550"),)
        assert outcome.late == (Refusal(BERT, "smtp 451"),)
        assert outcome.remote is not None

        # Alertmanager's repeat makes another version of the same state.
        still = await notify(channel, conversation(version=2, attempt=20, remote=outcome.remote), to)
        assert outcome.further
        assert still == replace(outcome, refused=(), further=False, reached=False)

        del smtp.refused[BERT]
        late = await notify(channel, conversation(version=3, attempt=21, remote=outcome.remote), to)
        assert late == Delivered({"first": FIRST})
    assert [mail.recipients for mail in smtp.mails] == [(ANNA,), (BERT,)]


async def test_a_late_mail_of_the_same_version_is_no_reply_to_itself() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.refused = {BERT: "451 4.7.1 greylisted"}
        outcome = await notify(channel, conversation(), place(ANNA, BERT))
        assert isinstance(outcome, Retry)
        smtp.recover()
        await notify(channel, conversation(attempt=2, remote=outcome.remote), place(ANNA, BERT))
    first, late = smtp.mails
    assert first.id == late.id
    assert "In-Reply-To" not in late.message


async def test_news_reach_everybody_though_one_was_still_owed_the_last() -> None:
    to = place(ANNA, BERT)
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost)
        smtp.refused = {BERT: "451 4.7.1 greylisted"}
        outcome = await notify(channel, conversation(), to)
        assert isinstance(outcome, Retry)
        smtp.recover()
        over = conversation(alert(resolved=True), version=2, attempt=2, remote=outcome.remote)
        assert await notify(channel, over, to) == Delivered({"first": FIRST})
        assert smtp.mails[-1].recipients == (ANNA, BERT)


async def test_a_storm_does_not_wait_for_refused_recipients() -> None:
    """Its next message has other news for everybody."""
    view = StormView(1, 1, (), over=False)
    async with FakeSmtp() as smtp:
        smtp.refused = {BERT: "451 4.7.1 greylisted"}
        outcome = await notify(
            channel_to(smtp.smarthost), conversation(alerts=(), storm=view), place(ANNA, BERT)
        )
        assert isinstance(outcome, Delivered)
        assert outcome.refused == (Refusal(BERT, "smtp 451"),)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mail.example.com", "mail.example.com"),
        ("localhost", "router.example"),
        ("localhost.localdomain", "router.example"),
        ("router-7d9f", "router.example"),
        ("my_host.example.com", "router.example"),
    ],
)
def test_a_host_without_a_domain_greets_with_the_senders(
    host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    given = {"smarthost": "mail.example:587", "from": "Alerts <alerts@router.example>"}
    assert EmailSettings.model_validate(given).ehlo_name == name
    for hello in ("me.example", "localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]"):
        assert EmailSettings.model_validate({**given, "hello": hello}).ehlo_name == hello


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_over_tls_we_log_in_and_are_taken(security: str, tls: ssl.SSLContext, trusted: None) -> None:
    async with FakeSmtp(tls, implicit=security == "implicit") as smtp:
        channel = channel_to(smtp.smarthost, tls=security, username=USER, password=PASSWORD)
        assert isinstance(await notify(channel, conversation()), Delivered)
        smtp.expect(Want((ANNA,), TITLE))


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_a_wrong_password_is_broken_and_never_shown(
    security: str, tls: ssl.SSLContext, trusted: None
) -> None:
    async with FakeSmtp(tls, implicit=security == "implicit") as smtp:
        channel = channel_to(smtp.smarthost, tls=security, username=USER, password="wrong-secret")
        assert await notify(channel, conversation()) == Broken("smtp 535: authentication")
        smtp.expect()
    assert "wrong-secret" not in repr(channel._settings)


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_an_untrusted_certificate_gets_no_password(security: str, tls: ssl.SSLContext) -> None:
    async with FakeSmtp(tls, implicit=security == "implicit") as smtp:
        channel = channel_to(smtp.smarthost, tls=security, username=USER, password=PASSWORD)
        assert await notify(channel, conversation()) == Broken("tls: certificate not trusted")
        smtp.expect()


async def test_without_starttls_on_offer_nothing_goes_out_in_clear() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost, tls="starttls", username=USER, password=PASSWORD)
        assert await notify(channel, conversation()) == Broken("tls: no starttls offered")
        assert smtp.commands == []


async def test_tls_to_a_port_without_tls_is_broken() -> None:
    async with FakeSmtp() as smtp:
        channel = channel_to(smtp.smarthost, tls="implicit")
        assert await notify(channel, conversation()) == Broken("tls: handshake failed")


@pytest.mark.parametrize(
    ("hello", "outcome"),
    [
        (b"250-any\r\n250 SIZE 1000", Broken("no authentication offered")),
        (b"250-any\r\n250 AUTH XOAUTH2", Broken("no authentication offered")),
        (b"550 5.7.1 who are you", Broken("smtp 550: hello refused")),
        (b"421 4.3.2 later", Retry("smtp 421: hello refused")),
    ],
)
async def test_a_login_that_is_not_offered_is_broken(
    hello: bytes, outcome: Outcome, tls: ssl.SSLContext, trusted: None
) -> None:
    async with Anything(tls) as smarthost:
        smarthost.speak = speak_smtp("EHLO", hello)
        channel = channel_to(smarthost.address, tls="implicit", username=USER, password=PASSWORD)
        assert await notify(channel, conversation()) == outcome


@pytest.mark.parametrize("quoted", [PASSWORD, base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()])
async def test_a_password_that_the_server_quotes_is_masked(
    quoted: str, tls: ssl.SSLContext, trusted: None
) -> None:
    async with Anything(tls) as smarthost:
        smarthost.speak = speak_smtp("AUTH", f"535 5.7.8 no: {quoted}, {quoted.upper()}".encode())
        channel = channel_to(smarthost.address, tls="implicit", username=USER, password=PASSWORD)
        outcome = await notify(channel, conversation())
    assert isinstance(outcome, Broken)
    assert outcome.words == "535 5.7.8 no: ***, ***"


@pytest.mark.parametrize(
    ("port", "tls", "security"),
    [(465, None, "implicit"), (587, None, "starttls"), (25, None, "starttls"), (25, "none", "none")],
)
def test_tls_follows_the_port_unless_it_is_given(port: int, tls: str | None, security: str) -> None:
    given = {"smarthost": f"mail.example:{port}", "from": ANNA, "tls": tls}
    assert EmailSettings.model_validate(given).security == security


@pytest.mark.parametrize(
    "given",
    [
        {"smarthost": "mail.example"},
        {"smarthost": "mail.example:0"},
        {"from": "nobody"},
        {"from": "a..b@example.com"},
        {"from": "a@example..com"},
        {"from": "ä@example.com"},
        {"from": "a@bücher.example"},
        {"from": "a@example.com\r\nBcc: eve@example.com"},
        {"hello": "my host"},
        {"hello": "a.example\r\nMAIL FROM:<eve@example.com>"},
        {"hello": "bücher.example"},
        {"hello": "[127.0.0.1"},
        {"username": "me"},
        {"username": "me", "password": "a-secret", "tls": "none"},
    ],
)
def test_settings_that_can_not_work_are_refused_without_showing_secrets(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        EmailSettings.model_validate({"smarthost": "mail.example:587", "from": ANNA, **given})
    assert "a-secret" not in str(caught.value)


def test_a_list_id_is_made_of_the_sorted_addresses_and_is_short() -> None:
    assert place(BERT, f"Anna <{ANNA}>").key == f"email:{ANNA},{BERT}"
    many = place(*(f"user-{number}@example.com" for number in range(100)))
    body = render(conversation(), to=many).body
    assert len(body["headers"]["List-Id"]) < 255
    assert problem(mail_bytes(body)) == ""
