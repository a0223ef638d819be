"""The signed webhook, over real sockets against a handler that is strict about Alertmanager's payload."""

import base64
import hashlib
import hmac
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from router.channels import REGISTRY
from router.channels.webhook import WebhookChannel, WebhookOptions, WebhookSettings
from router.config import ConfigError, loads
from router.model import (
    MINUTE,
    SECOND,
    Broken,
    Conversation,
    Delivered,
    Destination,
    Outcome,
    Rejected,
    Retry,
)
from router.parse import parse_webhook
from tests.unit.channels.drawings import drawn
from tests.unit.channels.talk import NOW, TEMPLATES, TOKEN, alert, conversation, conversations, destination
from tests.waiting import outwaited
from tests.world.fake_anything import Anything, after_request, say
from tests.world.fake_webhook import (
    CLOSE,
    HANG,
    LOST_ANSWER,
    PATH_TOKEN,
    SECRET,
    Call,
    FakeWebhook,
    Fault,
    Want,
    faults_of,
    http,
    signature,
)

BEARER, PASSWORD = "bearer-token-of-nobody", "pässword-of-nobody"
ENDED = alert(resolved=True)


@pytest.fixture
async def hook() -> AsyncIterator[FakeWebhook]:
    async with FakeWebhook() as hook:
        yield hook


@pytest.fixture
async def channel() -> AsyncIterator[WebhookChannel]:
    async with opened() as channel:
        yield channel


@asynccontextmanager
async def opened(patience: float = 10) -> AsyncIterator[WebhookChannel]:
    channel = WebhookChannel(WebhookSettings(timeout=patience))
    try:
        yield channel
    finally:
        await channel.close()


def place(url: str, **more: Any) -> Destination:
    return destination("webhook", WebhookOptions.model_validate({"url": url, **more}))


async def notify(channel: WebhookChannel, where: Destination | FakeWebhook, talk: Conversation) -> Outcome:
    where = place(where.url) if isinstance(where, FakeWebhook) else where
    return await channel.send(where, talk, channel.render(where, talk, TEMPLATES))


def body(talk: Conversation) -> Any:
    message = WebhookChannel(WebhookSettings()).render(place("https://hooks.example.com"), talk, TEMPLATES)
    assert message.body == json.loads(json.dumps(message.body))
    return message.body


# What is sent


async def test_a_group_and_its_end_are_sent(channel: WebhookChannel, hook: FakeWebhook) -> None:
    assert await notify(channel, hook, conversation()) == Delivered()
    hook.expect(Want("firing", {alert().fingerprint: "firing"}))
    assert await notify(channel, hook, conversation(ENDED, version=2)) == Delivered()
    hook.expect(Want("resolved", {ENDED.fingerprint: "resolved"}))


def test_the_payload_is_alertmanagers() -> None:
    other = alert(instance="b", resolved=True, annotations={"summary": "p99 is over 2 s", "description": "x"})
    assert body(conversation(alert(instance="a"), other, receiver=r"team\.web", truncated=3)) == {
        "version": "4",
        "groupKey": TOKEN,
        "truncatedAlerts": 3,
        "status": "firing",
        "receiver": r"team\.web",
        "groupLabels": {"alertname": "HighLatency", "cluster": "eu-1"},
        "commonLabels": {"alertname": "HighLatency", "cluster": "eu-1", "severity": "critical"},
        "commonAnnotations": {"summary": "p99 is over 2 s"},
        "externalURL": "https://alertmanager.example",
        "alerts": [
            {
                "status": "firing",
                "labels": dict(alert(instance="a").labels),
                "annotations": {"summary": "p99 is over 2 s"},
                "startsAt": "2026-11-21T07:00:00.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://prometheus.example/graph?g0.expr=up",
                "fingerprint": alert(instance="a").fingerprint,
            },
            {
                "status": "resolved",
                "labels": dict(other.labels),
                "annotations": {"summary": "p99 is over 2 s", "description": "x"},
                "startsAt": "2026-11-21T07:00:00.000Z",
                "endsAt": "2026-11-21T07:59:00.000Z",
                "generatorURL": "https://prometheus.example/graph?g0.expr=up",
                "fingerprint": other.fingerprint,
            },
        ],
    }


def test_a_group_of_which_alertmanager_hid_alerts_is_not_resolved() -> None:
    assert body(conversation(ENDED))["status"] == "resolved"
    assert body(conversation(ENDED, truncated=1))["status"] == "firing"


def test_an_unknown_start_is_gos_zero_time() -> None:
    assert body(conversation(replace(alert(), starts_at=None)))["alerts"][0]["startsAt"] == "0001-01-01T00:00:00Z"  # fmt: skip


@pytest.mark.parametrize("number", [1, 50, 2_000])
async def test_every_alert_arrives_whole(channel: WebhookChannel, hook: FakeWebhook, number: int) -> None:
    notes = {"description": "d" * 100_000}
    alerts = [alert(instance=str(each), annotations=notes if each < 50 else {}) for each in range(number)]
    assert await notify(channel, hook, conversation(*alerts)) == Delivered()
    hook.expect(Want("firing", {each.fingerprint: "firing" for each in alerts}))
    sent = hook.only.body["alerts"]
    assert [each["labels"]["instance"] for each in sent] == list(map(str, range(number)))
    assert [each["annotations"] for each in sent].count(notes) == min(number, 50)


@settings(deadline=None)
@given(conversations)
def test_every_conversation_makes_a_payload_that_another_router_takes(talk: Conversation) -> None:
    sent = body(talk)
    assert faults_of(sent) == []
    taken = parse_webhook(json.dumps(sent).encode())
    assert taken.oddities == ()
    assert (taken.truncated, len(taken.alerts)) == (talk.truncated, len(talk.alerts))


def test_ends_that_are_left_out_are_counted_and_keep_no_router_waiting() -> None:
    sent = body(replace(conversation(ENDED), left_out=7))
    assert (sent["status"], sent["truncatedAlerts"], sent["truncatedResolved"]) == ("resolved", 7, 7)
    assert parse_webhook(json.dumps(sent).encode()).truncated == 0


async def test_headers_have_an_agent_a_time_and_a_key(channel: WebhookChannel, hook: FakeWebhook) -> None:
    await notify(channel, hook, conversation(episode=2, version=7))
    headers = hook.only.headers
    assert headers["User-Agent"] == "alert-router"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == f"{TOKEN}-2-7-0123abcd"
    assert headers["X-Alert-Router-Timestamp"] == str(NOW // SECOND)
    assert not headers.keys() & {"X-Alert-Router-Signature", "Authorization", "Cookie"}


async def test_a_retry_of_a_version_has_its_idempotency_key_and_body(
    channel: WebhookChannel, hook: FakeWebhook
) -> None:
    hook.fail(LOST_ANSWER)
    assert isinstance(await notify(channel, hook, conversation(version=3)), Retry)
    again = conversation(version=3, attempt=2, now=NOW + MINUTE)
    assert await notify(channel, hook, again) == Delivered()
    first, second = hook.calls
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.raw == second.raw
    await notify(channel, hook, conversation(version=4))
    assert hook.calls[2].headers["Idempotency-Key"] != first.headers["Idempotency-Key"]


async def test_a_secret_signs_timestamp_and_body(channel: WebhookChannel) -> None:
    async with FakeWebhook(signed=True) as hook:
        where = place(hook.url, secret=SECRET)
        assert await notify(channel, where, conversation(alert(instance="zürich 🙂"))) == Delivered()
        hook.expect(Want("firing", {alert(instance="zürich 🙂").fingerprint: "firing"}))
        call = hook.only
    assert call.headers["X-Alert-Router-Signature"] == signature(call)
    assert signature(replace(call, raw=call.raw + b" ")) != signature(call)
    later = {**call.headers, "X-Alert-Router-Timestamp": str(NOW // SECOND + 1)}
    assert signature(replace(call, headers=later)) != signature(call)
    assert signature(call, "another secret") != signature(call)


async def test_the_lines_in_the_documentation_verify_a_request(
    channel: WebhookChannel, hook: FakeWebhook
) -> None:
    await notify(channel, place(hook.url, secret=SECRET), conversation())
    call = hook.only
    text = (Path(__file__).parents[3] / "docs/channels.md").read_text()
    lines = re.findall(r"```python\n(stamp = .*?)```", text, re.DOTALL)[0]

    def decision(call: Call, now: float) -> tuple[bool, bool]:
        clock = SimpleNamespace(time=lambda: now)
        known = {
            "headers": call.headers,
            "body": call.raw,
            "secret": SECRET.encode(),
            "hmac": hmac,
            "time": clock,
        }
        exec(lines, known)
        return bool(known["genuine"]), bool(known["fresh"])

    assert decision(call, NOW / SECOND) == (True, True)
    assert decision(call, NOW / SECOND + 301) == (True, False)
    assert decision(replace(call, raw=b"{}"), NOW / SECOND) == (False, True)


async def test_a_bearer_token_and_a_password_authorize(channel: WebhookChannel) -> None:
    pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    basic = {"basic_auth": {"username": "alice", "password": PASSWORD}}
    for more, header in (({"bearer_token": BEARER}, f"Bearer {BEARER}"), (basic, f"Basic {pair}")):
        async with FakeWebhook(authorization=header) as hook:
            assert await notify(channel, place(hook.url, **more), conversation()) == Delivered()


async def test_cookies_are_not_kept(channel: WebhookChannel, hook: FakeWebhook) -> None:
    """aiohttp would keep those of hosts that have a name."""
    hook.fail(http(503, Set_Cookie="session=1"))
    where = place(hook.url.replace("127.0.0.1", "localhost"))
    for _ in range(2):
        await notify(channel, where, conversation())
    assert "Cookie" not in hook.calls[1].headers


# What comes of it


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_delivered(channel: WebhookChannel, hook: FakeWebhook, status: int) -> None:
    hook.fail(http(status))
    assert await notify(channel, hook, conversation()) == Delivered()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (http(408), Retry("http 408: request timeout")),
        (http(425), Retry("http 425: too early")),
        (http(429), Retry("http 429: too many requests", pause=True)),
        (http(429, Retry_After="7"), Retry("http 429: too many requests", after=7 * SECOND, pause=True)),
        (http(429, Retry_After="soon"), Retry("http 429: too many requests", pause=True)),
        (http(429, Retry_After="9" * 5_000), Retry("http 429: too many requests", pause=True)),
        (http(429, Retry_After=formatdate(NOW / SECOND + 60, usegmt=True)),
         Retry("http 429: too many requests", after=MINUTE, pause=True)),
        (http(503, Retry_After=formatdate(NOW / SECOND - 60)), Retry("http 503", after=0, ambiguous=True)),
        (http(503, Retry_After="120"), Retry("http 503", after=2 * MINUTE, ambiguous=True)),
        (http(500, Retry_After="120"), Retry("http 500", ambiguous=True)),
        (http(401), Broken("http 401: credentials refused")),
        (http(403), Broken("http 403: forbidden")),
        (http(404), Broken("http 404: nothing at this address")),
        (http(410), Broken("http 410: gone")),
        (http(418), Retry("http 418")),
        (http(400), Rejected("http 400: bad request")),
        (http(413), Rejected("http 413: too large")),
        (http(415), Rejected("http 415: media type refused")),
        (http(422), Rejected("http 422: payload refused")),
        (CLOSE, Retry("connection failed", ambiguous=True)),
        (LOST_ANSWER, Retry("connection failed", ambiguous=True)),
    ],
    ids=str,
)  # fmt: skip
async def test_an_answer_is_an_outcome_after_one_attempt(
    channel: WebhookChannel, hook: FakeWebhook, fault: Fault, outcome: Outcome
) -> None:
    hook.fail(fault)
    assert await notify(channel, hook, conversation()) == outcome
    assert len(hook.calls) == 1
    assert await notify(channel, hook, conversation()) == Delivered()
    hook.expect(Want("firing", {alert().fingerprint: "firing"}))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(channel: WebhookChannel, hook: FakeWebhook, status: int) -> None:
    hook.fail(http(status, Location=hook.url))
    assert await notify(channel, hook, conversation()) == Broken(f"http {status}: redirect, not followed")
    assert len(hook.calls) == 1


async def test_a_hook_that_does_not_answer_may_have_got_it(hook: FakeWebhook) -> None:
    async with opened(patience=10) as channel:
        hook.fail(HANG)
        outcome = await outwaited(notify(channel, hook, conversation()), hook.until(lambda: bool(hook.calls)))
        assert outcome == Retry("timeout", ambiguous=True)
        hook.release()


async def test_a_hook_that_takes_no_connection_has_not_got_it() -> None:
    """A listener whose queue is full answers nothing at all."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        async with opened(patience=0.2) as channel:
            where = place(f"http://127.0.0.1:{full.getsockname()[1]}/")
            assert await notify(channel, where, conversation()) == Retry("connect timeout")


async def test_a_refused_connection_is_not_ambiguous(channel: WebhookChannel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = place(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        assert await notify(channel, where, conversation()) == Retry("connection failed")


async def test_a_server_without_tls_gets_nothing(channel: WebhookChannel, hook: FakeWebhook) -> None:
    where = place(hook.url.replace("http:", "https:"))
    assert await notify(channel, where, conversation()) == Broken("tls: handshake failed")
    assert hook.calls == []


async def test_what_is_no_http_is_a_bad_answer(channel: WebhookChannel) -> None:
    async with Anything() as provider:
        provider.speak = after_request(say(b"SSH-2.0-OpenSSH\r\n\r\n"))
        where = place(f"http://{provider.address}/")
        assert await notify(channel, where, conversation()) == Retry("bad answer", ambiguous=True)


async def test_a_closed_channel_can_be_used_again(channel: WebhookChannel, hook: FakeWebhook) -> None:
    await notify(channel, hook, conversation())
    await channel.close()
    await channel.close()
    assert await notify(channel, hook, conversation(version=2)) == Delivered()


# Secrets


@pytest.mark.parametrize("fault", [http(401), http(404), http(302, Location="/x"), http(422), http(500), CLOSE, None], ids=str)  # fmt: skip
async def test_no_secret_stands_in_an_outcome_a_log_or_a_repr(
    channel: WebhookChannel, hook: FakeWebhook, caplog: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    """The hook's answer quotes the address, as some do."""
    caplog.set_level("DEBUG")
    hook.fail(*([fault] if fault else []))
    where = place(hook.url, secret=SECRET, bearer_token=BEARER)
    outcome = await notify(channel, where, conversation())
    message = channel.render(where, conversation(), TEMPLATES)
    shown = " ".join(map(repr, (outcome, where, where.options, where.key, message))) + caplog.text
    for secret in (PATH_TOKEN, SECRET, BEARER, hook.url):
        assert secret not in shown


def test_a_destination_is_named_by_its_name_or_a_digest_of_its_address() -> None:
    url = "https://hooks.example.com/T0K3N"
    assert place(url, name="tickets").key == place(url).key.replace(":", ":tickets-")
    assert place(url).key == f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    assert not place(url).per_alert


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "hooks.example.com/s3cr3t"}, "is not a web address; write it like"),
        ({"url": "ftp://hooks.example.com/s3cr3t"}, "is not a web address"),
        ({"url": "https://hooks.example.com/s3cr3t\nX: y"}, "is not a web address"),
        ({"url": "https://hooks.example.com:s3cr3t/"}, "is not a web address"),
        ({"url": "https://:443/s3cr3t"}, "is not a web address"),
        ({"url": "https://[s3cr3t/"}, "is not a web address"),
        ({"url": "https://alice:s3cr3t@hooks.example.com/"}, "move the user and the password to basic_auth"),
        ({"bearer_token": "s3cr3t\r\nX: y"}, "is not a bearer token"),
        ({"basic_auth": {"username": "a:b", "password": "s3cr3t"}}, "should match pattern"),
        ({"bearer_token": "s3cr3t", "basic_auth": {"username": "a", "password": "s3cr3t"}},
         "keep bearer_token or basic_auth"),
        ({"secret": ""}, "should be a valid string"),
        ({"name": "a b"}, "should match pattern"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_without_the_secret(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)) as caught:
        WebhookOptions.model_validate({"url": "https://hooks.example.com/s3cr3t", **given})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, 61, float("nan"), float("inf")])
def test_a_timeout_is_some_seconds(timeout: float) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings(timeout=timeout)


# routes.yaml

RULES = """
channels: {webhook: {timeout: 5}}
receivers:
  tickets:
    - webhook: {url: "${HOOK_URL}", secret: {file: hook-secret}, bearer_token: "${HOOK_TOKEN}"}
route: {receiver: tickets}
"""


def test_rules_with_a_webhook_load(tmp_path: Path) -> None:
    (tmp_path / "hook-secret").write_text(f"{SECRET}\n")
    environ = {"HOOK_URL": "https://hooks.example.com/x", "HOOK_TOKEN": BEARER}
    config = loads(RULES, name="routes.yaml", folder=tmp_path, environ=environ, now=NOW)
    (where,) = config.policy.destinations.values()
    assert where.options.secret.get_secret_value() == SECRET
    assert config.settings["webhook"] == WebhookSettings(timeout=5)  # real time: only as a setting


def test_rules_with_a_webhook_load_in_a_preview_without_its_secrets(tmp_path: Path) -> None:
    config = loads(RULES, name="routes.yaml", folder=tmp_path, environ={}, now=NOW, preview=True)
    (where,) = config.policy.destinations.values()
    assert where.key.startswith("webhook:")
    with pytest.raises(ConfigError, match="HOOK_URL is not set"):
        loads(RULES, name="routes.yaml", folder=tmp_path, environ={}, now=NOW)


async def test_a_made_up_address_is_never_asked(channel: WebhookChannel) -> None:
    assert await notify(channel, place("HOOK_URL".ljust(32, "x")), conversation()) == Retry("no web address")


def test_the_registry_knows_it() -> None:
    kind = REGISTRY["webhook"]
    assert isinstance(kind.make(kind.settings.model_validate(kind.placeholder)), WebhookChannel)


# The fake


async def test_the_fake_fails_on_missing_unexpected_and_wrong_payloads(
    channel: WebhookChannel, hook: FakeWebhook
) -> None:
    await notify(channel, hook, conversation())
    good = Want("firing", {alert().fingerprint: "firing"})
    hook.expect(good)
    for wanted in ([], [Want("resolved", good.alerts)], [good, good]):
        with pytest.raises(AssertionError, match=r"missing|unexpected"):
            hook.expect(*wanted)
    hook.signed = True
    assert await notify(channel, hook, conversation(version=2)) == Rejected("http 400: bad request")
    with pytest.raises(AssertionError, match="it is not signed"):
        hook.expect(good)
    sent = hook.calls[0].body
    for wrong in (
        {**sent, "version": 4},
        {**sent, "more": 1},
        {**sent, "status": "resolved"},
        {**sent, "alerts": [{**sent["alerts"][0], "startsAt": "now"}]},
        {**sent, "alerts": [{**sent["alerts"][0], "labels": {"a": 1}}]},
    ):
        assert faults_of(wrong)


def test_requests_of_a_webhook_are_drawn_newest_first() -> None:
    text = drawn("webhook", conversation(), conversation(alert(resolved=True), version=2)).text
    assert text.index("resolvedFri 10:01 · POST · 1 alert") < text.index("firingFri 10:00 · POST · 1 alert")
