"""Every error answer has one shape: a status word for programs and a reason for people."""

import pytest

from router.model import Source
from router.web.json_answers import refusal
from tests.unit.web.harness import Serve, WebHarness

LOCKED = (Source("prod", bearer_token="s3cret"),)


@pytest.mark.parametrize("code", [202, 400, 401, 404, 409, 413, 415, 500, 503])
def test_every_code_has_a_status_word(code: int) -> None:
    answer = refusal(code, "why", headers={"X-More": "1"})
    assert answer.status == code
    assert answer.text is not None
    assert '"reason": "why"' in answer.text
    assert answer.headers["X-More"] == "1"
    assert ("WWW-Authenticate" in answer.headers) is (code == 401)


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("POST", "/webhook", 202, "quarantined"),
    ],
)
async def test_handlers_answer_in_one_shape(
    method: str, path: str, status: int, word: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    async with client.request(method, path) as answer:
        body = await answer.json()
    assert (answer.status, body["status"]) == (status, word)
    assert body.keys() == {"status", "reason"}
    assert body["reason"]


async def test_wrong_credentials_of_a_webhook_have_the_same_shape(harness: WebHarness, serve: Serve) -> None:
    harness.sources = LOCKED
    client = await serve(harness)
    async with client.post("/webhook", headers={"Authorization": "Bearer wrong"}) as answer:
        body = await answer.json()
    assert (answer.status, body["status"]) == (401, "unauthorized")
    assert "Bearer" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/dead-letters/1/retry", 404),
        ("/api/v1/dead-letters/1/discard", 404),
        ("/api/v1/dead-letters/9999999999999999999/discard", 400),
        ("/api/v1/dead-letters/x/retry", 400),
        ("/api/v1/destinations/none/resume", 404),
        ("/api/v1/destinations/none/pause", 404),
    ],
)
async def test_an_action_on_nothing_says_so(
    path: str, status: int, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    async with client.post(path) as answer:
        body = await answer.json()
    assert (answer.status, body["status"], answer.content_type) == (
        status,
        status,
        "application/problem+json",
    )
    assert body["detail"]
