"""The headers of mails: ids stay whole at any domain, and routes.yaml adds headers that the router does not set."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.channels.email import DigestOptions, EmailChannel, EmailOptions, EmailSettings
from router.channels.email_headers import OWN_HEADERS
from router.channels.email_mime import mail_bytes
from router.config import ConfigError, loads
from router.model import DigestView
from tests.unit.channels.talk import NOW, TEMPLATES, TOKEN, alert, conversation, destination
from tests.world.fake_smtp import FakeSmtp, parse, problem

TO = "anna@example.com"


def domain_of(labels: list[str]) -> str:
    """Return a domain of at most 253 characters, made of the first labels."""
    domain = labels[0]
    for label in labels[1:]:
        domain = domain if len(domain) + 1 + len(label) > 253 else f"{domain}.{label}"
    return domain


DOMAINS = st.lists(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), min_size=1, max_size=40
)
LONGEST = ["a" * 63, "b" * 63, "c" * 63, "d" * 61]


def body_of(from_: str = "alerts@router.example", **options: Any) -> Any:
    """Return the body of the second mail of a thread."""
    channel = EmailChannel(
        EmailSettings.model_validate({"smarthost": "localhost:25", "from": from_, "tls": "none"})
    )
    to = destination("email", EmailOptions.model_validate({"to": [TO], **options}))
    first = channel.render(to, conversation(), TEMPLATES).body["message_id"]
    over = conversation(alert(resolved=True), version=2, remote={"first": first})
    return channel.render(to, over, TEMPLATES).body


@settings(deadline=None)
@given(DOMAINS.map(domain_of))
@example(domain_of(LONGEST))
@example("alerting.prod.eu-central-1.aws.example.com")
def test_an_id_is_whole_and_verbatim_at_any_domain(domain: str) -> None:
    body = body_of(f"alerts@{domain}", reply_to=f"team@{domain}")
    raw = mail_bytes(body)
    first = f"<{TOKEN}.1.1-0123abcd@{domain}>"
    for name, value in (
        ("Message-ID", f"<{TOKEN}.1.2-0123abcd@{domain}>"), ("In-Reply-To", first), ("References", first),
        ("List-Id", body["headers"]["List-Id"]), ("From", f"alerts@{domain}"), ("Reply-To", f"team@{domain}"),
    ):  # fmt: skip
        assert f"\r\n{name}: {value}\r\n".encode() in b"\r\n" + raw
    assert len(body["headers"]["List-Id"]) <= 255
    assert problem(raw) == ""


@pytest.mark.parametrize(
    "head",
    [
        b"List-Id: =?utf-8?q?=3Cx=2Ey=3E?=",
        b"References:\r\n <x@y>",
        b"In-Reply-To: <x@\r\n y>",
        b"References: x@y",
    ],
)
def test_the_fake_refuses_an_id_that_is_encoded_or_folded(head: bytes) -> None:
    raw = mail_bytes(body_of())
    assert problem(raw) == ""
    assert "encoded or folded" in problem(head + b"\r\n" + raw)


async def test_own_headers_and_reply_to_are_in_the_mail() -> None:
    headers = {"X-Priority": "1", "X-Team": "Größe =?utf-8?q?x?= " + "y" * 300, "Organization": "a  b"}
    async with FakeSmtp() as smtp:
        channel = EmailChannel(
            EmailSettings.model_validate(
                {"smarthost": smtp.smarthost, "from": TO, "tls": "none", "hello": "a.example"}
            )
        )
        options = EmailOptions.model_validate(
            {"to": [TO], "reply_to": "Téam <t@example.com>", "headers": headers}
        )
        to = destination("email", options)
        await channel.send(to, conversation(), channel.render(to, conversation(), TEMPLATES))
    mail = smtp.only.message
    assert (mail["Reply-To"], mail["X-Priority"], mail["X-Team"]) == (
        "Téam <t@example.com>", "1", headers["X-Team"],
    )  # fmt: skip
    assert mail["Organization"] == "a b"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_digest_has_them_as_well() -> None:
    options = DigestOptions.model_validate(
        {"to": [TO], "at": "09:00", "reply_to": "team@example.com", "headers": {"X-Priority": "5"}}
    )
    channel = EmailChannel(
        EmailSettings.model_validate({"smarthost": "localhost:25", "from": TO, "tls": "none"})
    )
    talk = conversation(alerts=(), digest=DigestView(NOW - 1, NOW))
    mail = parse(mail_bytes(channel.render(destination("digest", options), talk, TEMPLATES).body))
    assert (mail["Reply-To"], mail["X-Priority"]) == ("team@example.com", "5")


def test_a_name_in_an_address_is_quoted_or_encoded() -> None:
    names = ['"Doe, Jane"', "Jörg", "=?utf-8?q?x?=", "n" * 200, "ü" * 100]
    body = body_of(to=[f"{name} <user{number}@example.com>" for number, name in enumerate(names)])
    raw = mail_bytes(body)
    assert problem(raw) == ""
    shown = [each.display_name for each in parse(raw)["To"].addresses]
    # Python's parser leaves a space between encoded words.
    assert [each.replace(" ", "") for each in shown] == ["Doe,Jane", *names[1:]]


def mistake(headers: str) -> str:
    text = f"""
channels: {{email: {{smarthost: "smtp.example.com:25", from: a@example.com, tls: none}}}}
receivers: {{ops: [{{email: {{to: [a@example.com], headers: {headers}}}}}]}}
route: {{receiver: ops}}
"""
    try:
        loads(text, name="routes.yaml", folder=Path(), environ={}, now=0)
    except ConfigError as error:
        return "\n".join(map(str, error.errors))
    return ""


@pytest.mark.parametrize("name", [*OWN_HEADERS, "Content-Type", "Content-Transfer-Encoding", "SUBJECT"])
def test_a_header_that_the_router_sets_is_refused(name: str) -> None:
    assert f"{name} is a header that the router or a mail server sets; " in mistake(f'{{"{name}": x}}')


def test_the_router_sets_no_header_that_routes_yaml_can_set() -> None:
    sent = {name.casefold() for name in parse(mail_bytes(body_of(reply_to=TO))).keys()}  # noqa: SIM118  (with repeats)
    assert {name for name in sent if not name.startswith("content-")} <= OWN_HEADERS.keys()


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        (r'{X-A: "1\r\nBcc: eve@example.com"}', "the value of X-A is not one line"),
        (r'{X-A: "1\n"}', "the value of X-A is not one line"),
        (r'{X-A: "a\0b"}', "the value of X-A is not one line"),
        (r'{X-A: "a\u2028b"}', "the value of X-A is not one line"),
        (r'{"X-A\r\nBcc": "1"}', "is no name of a header"),
        ('{"X A": "1"}', "is no name of a header"),
        ('{"X:A": "1"}', "is no name of a header"),
        ('{"Ä": "1"}', "is no name of a header"),
        ("{X-A: 1, x-a: 2}", "x-a appears twice"),
        (f"{{X-A: {'v' * 901}}}", "more than 900 characters"),
    ],
)
def test_a_header_that_would_break_a_mail_is_refused(headers: str, what: str) -> None:
    assert what in mistake(headers)


def test_a_number_is_a_value_of_a_header() -> None:
    assert mistake("{X-Priority: 1}") == ""
