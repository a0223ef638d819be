"""``alert-router deliveries``, with a fake service that answers as the router's API does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import Result

from tests.unit.cli.commands import run

AT = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
TOPIC = {"kind": "group", "level": "critical", "labels": {"cluster": "eu"}, "names": ["Down"], "alerts": 3}
DELIVERY = {
    "id": 7, "destination": "slack:C1", "attempt": 2, "started_at": AT, "duration": 1_200, "outcome": "retry",
    "reason": "timeout", "words": "", "next_try": AT + 60_000, "topic": TOPIC,
}  # fmt: skip
ALERT = {"name": "Down", "level": "critical", "status": "resolved", "unnotified": "firing"}
DEAD_LETTER = {
    "id": 3, "destination": "slack:C1", "recipient": "", "at": AT, "reason": "channel_not_found", "alerts": [ALERT],
    "alerts_total": 1,
}  # fmt: skip


class Service(BaseHTTPRequestHandler):
    """Has one delivery and the dead letters 3 and 4; its Slack channel is still broken."""

    def do_GET(self) -> None:
        total = {"total": 2, "total_is_exact": True}
        found: dict[str, Any] = {
            "/api/v1/overview": {"now": AT + 1_000, "timezone": "UTC"},
            "/api/v1/deliveries?limit=50": {"items": [DELIVERY], **total, "next": "older"},
            "/api/v1/deliveries?limit=49&cursor=older": {"items": [], **total, "next": None},
            "/api/v1/dead-letters?limit=50": {"items": [DEAD_LETTER], **total, "next": "more"},
            "/api/v1/dead-letters?limit=500": {"items": [DEAD_LETTER], **total, "next": "more"},
            **{
                f"/api/v1/dead-letters?limit={limit}&cursor=more": {
                    "items": [{**DEAD_LETTER, "id": 4}],
                    **total,
                    "next": None,
                }
                for limit in (49, 500)
            },
        }
        self._answer(200, found[self.path])

    def do_POST(self) -> None:
        if self.path.endswith("/resume"):
            self._answer(200, {"status": "still broken", "reason": "channel_not_found"})
        elif self.path.split("/")[-2] in {"3", "4"}:
            self._answer(200, {"status": "to be tried again" if self.path.endswith("retry") else "discarded"})
        else:
            self._answer(404, {"detail": "there is no such dead letter"}, "application/problem+json")

    def _answer(self, status: int, data: Any, kind: str = "application/json") -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Write no log."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def deliveries(url: str, *arguments: str) -> Result:
    return run("deliveries", "--url", url, *arguments)


def test_deliveries_are_listed_as_text_and_as_json(url: str) -> None:
    title, line, total = deliveries(url).stdout.splitlines()
    assert title.split() == ["No.", "Started", "Took", "Destination", "Outcome", "About", "Reason"]
    reason = "timeout (attempt 2); next try 12:01:00"
    assert line == f"  7  12:00:00   1 s  slack:C1     retry    critical Down (+2)  {reason}"
    assert total == "2 deliveries"
    assert json.loads(deliveries(url, "--json").stdout)["items"] == [DELIVERY]


def test_dead_letters_are_listed_and_exit_with_1(url: str) -> None:
    result = deliveries(url, "--dead")
    assert result.exit_code == 1
    assert "critical Down firing (resolved now)" in result.stdout
    assert result.stdout.endswith(
        "2 dead letters\nTry again: deliveries retry NUMBER; settle without sending: deliveries discard NUMBER\n"
    )
    result = deliveries(url, "--dead", "--json")
    assert result.exit_code == 1
    assert [each["id"] for each in json.loads(result.stdout)["items"]] == [3, 4]
    assert deliveries(url, "--dead", "--since", "2d").exit_code == 2


@pytest.mark.parametrize(("action", "status"), [("retry", "to be tried again"), ("discard", "discarded")])
def test_dead_letters_are_settled_by_number_or_all(url: str, action: str, status: str) -> None:
    assert deliveries(url, action, "3").stdout == f"3: {status}\n"
    answer = json.loads(deliveries(url, action, "--all", "--json").stdout)
    assert answer == [{"id": 3, "status": status}, {"id": 4, "status": status}]
    assert deliveries(url, action).exit_code == 2
    assert deliveries(url, action, "3", "--all").exit_code == 2


def test_settled_dead_letters_are_printed_if_a_later_one_fails(url: str) -> None:
    result = deliveries(url, "retry", "3", "5", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [{"id": 3, "status": "to be tried again"}]
    assert "there is no such dead letter" in result.stderr


def test_a_destination_that_is_still_broken_exits_with_1(url: str) -> None:
    result = deliveries(url, "resume", "slack:C1")
    assert (result.stdout, result.exit_code) == ("slack:C1: still broken: channel_not_found\n", 1)
    answer = json.loads(deliveries(url, "resume", "slack:C1", "--json").stdout)
    assert answer == {"destination": "slack:C1", "status": "still broken", "reason": "channel_not_found"}


def test_a_service_that_does_not_answer_is_an_error_with_advice() -> None:
    result = deliveries("http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "does not answer (ConnectionRefusedError); is `alert-router serve` running there?" in result.stderr


def test_what_is_no_router_is_named(url: str) -> None:
    result = run("status", "--url", f"{url}/elsewhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not answer" in result.stderr or "is not an alert-router" in result.stderr
    wrong = run("status", "--url", "router.example")
    assert (wrong.exit_code, "'router.example' is no address; write it like" in wrong.stderr) == (1, True)
