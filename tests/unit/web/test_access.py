"""The middleware: the order of its checks, its answers, and the headers of every answer."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from router.model import AccessSettings, Role
from router.web import make_app
from router.web.access import needs
from router.web.access.password_checks import FAILURES_SECONDS, MAX_FAILURES
from router.web.access.peers import AccessOptions
from router.web.access.principal import role_needed
from tests.unit.web.accounts import BEHIND_PROXY, SECRETS, SOURCES, USERS, basic
from tests.unit.web.harness import Client, Serve, WebHarness

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PROBES = ["/healthz", "/readyz", "/-/healthy", "/-/ready"]
RESUME = "/api/v1/destinations/slack:C0WARNINGS/resume"


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token-of-{name}"}


@pytest.fixture
def locked(harness: WebHarness) -> WebHarness:
    harness.access, harness.sources, harness.options = USERS, SOURCES, AccessOptions("0.0.0.0")
    return harness


async def refused(client: Client, method: str, path: str, **given: Any) -> tuple[int, str]:
    """Return the status and the detail of a refusal."""
    async with client.request(method, path, **given) as answer:
        assert answer.content_type == "application/problem+json"
        body = await answer.json()
        assert body["status"] == answer.status
        return answer.status, body["detail"]


@pytest.mark.parametrize("path", PROBES)
async def test_probes_answer_everybody(path: str, locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for headers in (
        {},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Authorization": "Bearer x"},
    ):
        assert (await client.get(path, headers=headers)).status == 200


def routes(harness: WebHarness) -> Iterator[tuple[str, str, Role | None]]:
    for route in make_app(harness.parts()).router.routes():
        if route.resource is not None:
            yield route.method, route.resource.canonical, role_needed(route.handler, route.method)


async def test_only_probes_and_the_webhook_are_open(harness: WebHarness) -> None:
    found = {(method, path) for method, path, role in routes(harness) if role is None}
    webhooks = {("POST", f"/webhook{rest}") for rest in ("", "/", "/{source}", "/{source}/")}
    assert found == webhooks | {(method, path) for method in ("GET", "HEAD") for path in PROBES}


async def test_whatever_is_not_a_get_needs_more_than_view(harness: WebHarness) -> None:
    acting = {path: role for method, path, role in routes(harness) if method not in {"GET", "HEAD"} and role}
    assert acting["/-/reload"] is Role.ADMIN
    assert acting["/api/v1/destinations/{key}/resume"] is Role.OPERATE
    reading = {path for path, role in acting.items() if role <= Role.VIEW}
    assert reading == {"/api/v1/explain"}  # it has a body, and changes nothing


@pytest.mark.parametrize("headers", [{}, HTML])
async def test_every_other_address_needs_credentials(
    headers: dict[str, str], locked: WebHarness, serve: Serve
) -> None:
    """An address that does not exist is 401, too, so that nobody can find out which do."""
    client = await serve(locked)
    known = [
        (method, path.replace("{", "").replace("}", "")) for method, path, role in routes(locked) if role
    ]
    for method, path in [
        *known,
        ("GET", "/no/such/address"),
        ("POST", "/no"),
        ("GET", "/webhook"),
        ("DELETE", "/status"),
    ]:
        async with client.request(method, path, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
        assert answer.status == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="alert-router"')
        assert "slack:C0WARNINGS" not in text


async def test_an_unknown_address_is_404_and_another_method_405(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    assert await refused(client, "GET", "/no/such", headers=bearer("vera")) == (
        404, "There is no page or operation with this address.",
    )  # fmt: skip
    async with client.get("/webhook", headers=bearer("vera")) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    async with client.get("/no/such", headers={**bearer("vera"), **HTML}) as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert "<nav" in await answer.text()


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        ("vera", "GET", "/status", 200), ("vera", "GET", "/metrics", 200), ("vera", "POST", "/-/reload", 403), ("vera", "POST", RESUME, 403),
        ("tess", "GET", "/actions", 200),
        ("otto", "GET", "/status", 200), ("otto", "POST", "/-/reload", 403), ("otto", "POST", RESUME, 200),
        ("ada", "GET", "/status", 200), ("ada", "POST", "/-/reload", 200), ("ada", "POST", RESUME, 200),
    ],
)  # fmt: skip
async def test_a_role_may_do_all_that_those_below_it_may(
    user: str, method: str, path: str, status: int, locked: WebHarness, serve: Serve
) -> None:
    client = await serve(locked)
    async with client.request(method, path, headers=bearer(user)) as answer:
        assert answer.status == status
    assert locked.reloads == (1 if (path, status) == ("/-/reload", 200) else 0)


async def test_a_source_may_post_and_nothing_else(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for headers in (
        bearer("prod"),
        {"Authorization": basic("lab", "pw-of-lab")},
        {"Authorization": basic("edge", "pw-of-edge")},
    ):
        assert (await client.post("/webhook", data=b"{}", headers=headers)).status == 202
        for method, path in (("GET", "/status"), ("POST", "/-/reload"), ("POST", RESUME), ("GET", "/no")):
            status, detail = await refused(client, method, path, headers=headers)
            assert status == 403
            assert "may post webhooks and nothing else" in detail
    assert (locked.reloads, locked.resumed) == (0, [])


async def test_a_user_may_not_post_webhooks(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for headers in (bearer("ada"), {"Authorization": basic("ada", "pw-of-ada")}, {}):
        assert (await client.post("/webhook", data=b"{}", headers=headers)).status == 401


async def test_without_users_the_answer_says_what_to_configure(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    assert (await client.get("/status")).status == 200
    status, detail = await refused(client, "GET", "/status", headers={"X-Forwarded-For": "192.0.2.1"})
    assert status == 401
    assert "Add users" in detail
    async with client.get(
        "/status", headers={"Via": "1.1 x"}
    ) as answer:  # no password can help, so a browser asks for none
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="alert-router"'


async def test_a_refused_browser_gets_a_page_that_shows_nothing_else(
    locked: WebHarness, serve: Serve
) -> None:
    client = await serve(locked)
    async with client.get("/status", headers=HTML) as answer:
        text = await answer.text()
    assert (answer.status, answer.content_type) == (401, "text/html")
    assert "Sign in" in text
    assert "<nav" not in text
    assert "/pages/" not in text
    async with client.get("/api/v1/actions", headers=HTML) as answer:
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9099", "localhost.evil.example", "x" * 400, "a b", "<b>"]
)
async def test_other_hosts_are_refused_before_anything_else(
    host: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    for method, path in (
        ("GET", "/status"),
        ("POST", "/-/reload"),
        ("GET", "/no/such"),
        ("GET", "/pages/style.css"),
    ):
        status, detail = await refused(client, method, path, headers={"Host": host})
        assert status == 421
        assert "Host" in detail or "allowed_hosts" in detail
    assert (await client.post("/webhook", data=b"{}", headers={"Host": host})).status == 202
    assert harness.reloads == 0


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1:1",
        "[::1]:9099",
        "192.0.2.1",
        "router.example.com",
        "ROUTER.EXAMPLE.COM.:80",
        "a.example.org",
    ],
)
async def test_known_hosts_are_answered(host: str, harness: WebHarness, serve: Serve) -> None:
    harness.access = AccessSettings(allowed_hosts=("router.example.com", "*.example.org"))
    client = await serve(harness)
    assert (await client.get("/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://127.0.0.1", "Host": "127.0.0.1"}, 200),
    ],
)
async def test_actions_come_from_own_pages_or_programs(
    headers: dict[str, str], status: int, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    for path in ("/-/reload", RESUME):
        async with client.post(path, headers=headers) as answer:
            assert answer.status == status
    assert harness.reloads == (1 if status == 200 else 0)
    assert (await client.get("/status", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200), ("GET", "/status", 200), ("GET", "/no/such", 404), ("GET", "/pages/style.css", 200), ("GET", "/pages/no", 404),
        ("POST", "/webhook", 202), ("POST", "/status", 405), ("GET", "/metrics", 200), ("GET", "/actions", 200),
        ("GET", "/api/v1/actions?x=1", 400), ("HEAD", "/status", 200),
    ],
)  # fmt: skip
async def test_every_answer_has_the_headers_of_safety(
    method: str, path: str, status: int, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    async with client.request(method, path) as answer:
        headers = answer.headers
    assert answer.status == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


async def test_too_many_wrong_passwords_have_to_wait(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for number in range(MAX_FAILURES):
        wrong = {"Authorization": basic("ada", f"wrong-secret{number}")}
        assert (await refused(client, "GET", "/status", headers=wrong))[0] == 401
    headers = {"Authorization": basic("ada", "pw-of-ada")}
    async with client.get("/status", headers=headers) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= FAILURES_SECONDS + 1
    assert (await client.get("/status", headers=bearer("ada"))).status == 200
    edge = {"Authorization": basic("edge", "pw-of-edge")}
    assert (
        await client.post("/webhook", data=b"{}", headers=edge)
    ).status == 202  # webhooks are counted apart


async def test_too_many_wrong_passwords_of_webhooks_have_to_wait(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for number in range(MAX_FAILURES):
        wrong = {"Authorization": basic("edge", f"wrong-secret{number}")}
        assert (await client.post("/webhook", data=b"{}", headers=wrong)).status == 401
    edge = {"Authorization": basic("edge", "pw-of-edge")}
    async with client.post("/webhook", data=b"{}", headers=edge) as answer:
        assert answer.status == 503  # Alertmanager tries again after a 503 only
    ada = {"Authorization": basic("ada", "pw-of-ada")}
    assert (await client.get("/status", headers=ada)).status == 200


async def test_a_policy_of_a_handler_also_forbids_foreign_frames(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    kept = await harness.store.quarantine(b"x", "prod", "no reason", 0)
    async with client.get(f"/api/v1/quarantine/{kept}/body") as answer:
        assert (
            answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'; frame-ancestors 'none'"
        )


async def test_a_handler_that_fails_is_answered_and_logged(
    harness: WebHarness, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[dict[str, Any]]:
        raise KeyError("secret detail")

    monkeypatch.setattr(harness, "lanes", broken)
    client = await serve(harness)
    with capture_logs() as logs:
        status, detail = await refused(client, "GET", "/status")
    assert status == 500
    assert "secret detail" not in detail
    assert [each["event"] for each in logs if each.get("exc_info")] == ["request failed unexpectedly"]


async def test_refused_actions_of_users_are_in_the_log_of_actions(locked: WebHarness, serve: Serve) -> None:
    client = await serve(locked)
    for headers in (bearer("vera"), {}, bearer("prod"), {"Authorization": basic("ada", "wrong-secret")}):
        for path in ("/-/reload", RESUME, "/no/such"):
            await client.post(path, headers=headers)
        await client.get("/status", headers=headers)
    lines, total = await locked.store.pages.actions(None, 10)
    assert total.count == len(lines)
    shown = [
        (each.actor, each.via, each.action, each.target, each.outcome)
        for each in lines
        if each.outcome == "refused"
    ]
    assert ("vera", "token", "reload configuration", "", "refused") in shown
    assert {each[0] for each in shown} == {"vera"}
    counted = locked.metrics.registry.get_sample_value
    assert counted("alert_router_requests_refused_total", {"reason": "role"}) == 2
    assert counted("alert_router_requests_refused_total", {"reason": "source"}) == 4
    assert counted("alert_router_requests_refused_total", {"reason": "no_credentials"}) == 4


async def test_secrets_are_in_no_answer_and_no_log_line(locked: WebHarness, serve: Serve) -> None:
    """Every credential is sent to every kind of address; then everything that came out is searched."""
    client = await serve(locked)
    out: list[str] = []
    authorizations = [f"Bearer {each}" for each in SECRETS] + [basic("ada", each) for each in SECRETS[:4]]
    with capture_logs() as logs:
        for authorization in authorizations:
            for method, path in (
                ("GET", "/status"),
                ("GET", "/actions"),
                ("POST", "/-/reload"),
                ("POST", "/webhook"),
                ("GET", "/no"),
            ):
                for accept in ("text/html", "application/json"):
                    given = {"Authorization": authorization, "Accept": accept}
                    async with client.request(method, path, headers=given) as answer:
                        out.append(await answer.text() + json.dumps(dict(answer.headers)))
    out.append(json.dumps(logs, default=repr))
    out.append(locked.metrics.expose([], 0).decode())
    lines, _ = await locked.store.pages.actions(None, 100)
    out.append(repr(lines))
    out.append(repr(USERS) + repr(SOURCES) + repr(BEHIND_PROXY))
    everything = "\n".join(out)
    assert [each for each in SECRETS if each in everything] == []


def test_a_handler_that_declares_nothing_needs_view_or_admin() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    assert role_needed(handler, "GET") is Role.VIEW
    assert role_needed(handler, "POST") is role_needed(handler, "DELETE") is Role.ADMIN
    assert role_needed(needs(None)(handler), "POST") is None
