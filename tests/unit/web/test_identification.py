"""Who makes a request: each combination of users, listening, peer, headers and credentials."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from router.model import AccessSettings, Role, Source, TrustedProxy
from router.web.access.identification import AccessRefused, Identification
from router.web.access.password_checks import MAX_FAILURES, PasswordChecks
from router.web.access.peers import AccessOptions
from tests.unit.web.accounts import ADA, BEHIND_PROXY, PROXY, SOURCES, USERS, basic, hashed

NONE = AccessSettings()


async def identify(
    settings: AccessSettings, *, peer: str = "127.0.0.1", host: str = "127.0.0.1", is_open: bool = False, **headers: Any
) -> tuple[str, str, str] | tuple[int, str]:  # fmt: skip
    """Return name, role and way of the principal; or the status and the reason of the refusal."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_mocked_request("GET", "/", headers=given).clone(remote=peer)
    identification = Identification(AccessOptions(host, is_open))
    try:
        found = await identification.principal_of(request, settings, SOURCES)
    except AccessRefused as refused:
        return refused.status, refused.reason
    finally:
        await identification.close()
    return found.name, found.role.word, found.via


LOCAL = ("this machine", "admin", "loopback")
ANYBODY = ("anybody", "admin", "open")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, LOCAL),
        ({"peer": "::1"}, LOCAL),
        ({"peer": "::ffff:127.0.0.1", "host": "localhost"}, LOCAL),
        ({"host": "::1"}, LOCAL),
        ({"Authorization": "Bearer of-nobody"}, LOCAL),
        ({"peer": "192.0.2.1"}, (401, "not_local")),
        ({"peer": ""}, (401, "not_local")),
        ({"host": "0.0.0.0"}, (401, "not_local")),
        ({"host": "::"}, (401, "not_local")),
        ({"host": "router.example"}, (401, "not_local")),
        ({"X_Forwarded_For": "127.0.0.1"}, (401, "not_local")),
        ({"X_Forwarded_User": "ada"}, (401, "not_local")),
        ({"Forwarded": "for=127.0.0.1"}, (401, "not_local")),
        ({"Via": "1.1 proxy"}, (401, "not_local")),
        ({"X_Real_IP": "127.0.0.1"}, (401, "not_local")),
        ({"is_open": True, "host": "0.0.0.0", "peer": "192.0.2.1"}, ANYBODY),
        ({"is_open": True, "X_Forwarded_For": "192.0.2.1"}, ANYBODY),
    ],
)
async def test_without_users_only_this_machine_is_let_in(
    given: dict[str, Any], found: tuple[Any, ...]
) -> None:
    assert await identify(NONE, **given) == found


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.1"])
@pytest.mark.parametrize(
    ("authorization", "found"),
    [
        ("", (401, "no_credentials")),
        ("Bearer token-of-vera", ("vera", "view", "token")),
        ("bearer  new-token-of-vera ", ("vera", "view", "token")),
        ("Bearer token-of-otto", ("otto", "operate", "token")),
        ("Bearer token-of-ada", ("ada", "admin", "token")),
        (basic("ada", "pw-of-ada"), ("ada", "admin", "password")),
        (basic("ada", "pw-of-otto"), (401, "wrong_credentials")),
        (basic("ada", ""), (401, "wrong_credentials")),
        (basic("Ada", "pw-of-ada"), (401, "wrong_credentials")),
        (basic("nobody", "pw-of-ada"), (401, "wrong_credentials")),
        (basic("tess", "token-of-tess"), (401, "wrong_credentials")),
        (basic("ada", "x" * 100), (401, "wrong_credentials")),
        (basic("ada", "pw-of-ada\0"), (401, "wrong_credentials")),
        ("Bearer wrong", (401, "wrong_credentials")),
        ("Bearer", (401, "wrong_credentials")),
        ("Basic ???", (401, "wrong_credentials")),
        ("Basic YWRh", (401, "wrong_credentials")),
        ("Digest username=ada", (401, "wrong_credentials")),
        ("Bearer " + "x" * 10_000, (401, "wrong_credentials")),
        ("Bearer token-of-prod", (403, "source")),
        (basic("lab", "pw-of-lab"), (403, "source")),
        (basic("edge", "pw-of-edge"), (403, "source")),
        (basic("edge", "pw-of-lab"), (401, "wrong_credentials")),
    ],
)
async def test_with_users_credentials_are_always_needed(
    authorization: str, found: tuple[Any, ...], peer: str, host: str, is_open: bool
) -> None:
    headers: dict[str, Any] = {"Authorization": authorization} if authorization else {}
    assert await identify(USERS, peer=peer, host=host, is_open=is_open, **headers) == found
    assert await identify(USERS, peer=peer, X_Forwarded_User="ada", **headers) == found


@pytest.mark.parametrize("peer", ["10.9.1.2", "::ffff:10.9.1.2", "2001:db8::7"])
@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"X_Forwarded_User": "ada"}, ("ada", "admin", "proxy")),
        ({"X_Forwarded_User": " vera "}, ("vera", "view", "proxy")),
        (
            {"X_Forwarded_User": "ada", "Authorization": basic("ada", "of the proxy")},
            ("ada", "admin", "proxy"),
        ),
        ({"X_Forwarded_User": "mallory"}, (401, "proxy")),
        ({"X_Forwarded_User": ""}, (401, "proxy")),
        ({"X_Forwarded_User": "a\x7f"}, (401, "proxy")),
        ({"X_Forwarded_User": "a" * 129}, (401, "proxy")),
        ({}, (401, "proxy")),
        ({"Authorization": "Bearer token-of-otto"}, ("otto", "operate", "token")),
        ({"Authorization": "Bearer wrong"}, (401, "wrong_credentials")),
        ({"X_Forwarded_User": "", "Authorization": "Bearer token-of-otto"}, ("otto", "operate", "token")),
    ],
)
async def test_a_trusted_proxy_names_the_user(
    peer: str, headers: dict[str, Any], found: tuple[Any, ...]
) -> None:
    assert await identify(BEHIND_PROXY, peer=peer, **headers) == found


@pytest.mark.parametrize("peer", ["10.8.1.2", "127.0.0.1", "192.0.2.1", ""])
async def test_the_user_header_counts_from_no_other_address(peer: str) -> None:
    assert await identify(BEHIND_PROXY, peer=peer, X_Forwarded_User="ada") == (401, "no_credentials")


async def test_a_header_that_comes_twice_names_nobody() -> None:
    request = make_mocked_request(
        "GET", "/", headers=[("X-Forwarded-User", "vera"), ("X-Forwarded-User", "ada")]
    )
    with pytest.raises(AccessRefused, match="named no user"):
        await Identification().principal_of(request.clone(remote="10.9.0.1"), BEHIND_PROXY, ())


async def test_an_unknown_user_of_the_proxy_gets_the_default_role() -> None:
    settings = AccessSettings((ADA,), proxy=replace(PROXY, default_role=Role.VIEW))
    assert await identify(settings, peer="10.9.0.1", X_Forwarded_User="new") == ("new", "view", "proxy")
    assert await identify(settings, peer="10.9.0.1", X_Forwarded_User="ada") == ("ada", "admin", "proxy")
    without_users = AccessSettings(proxy=TrustedProxy(PROXY.addresses, "Remote-User", Role.OPERATE))
    assert await identify(without_users, peer="10.9.0.1", Remote_User="new") == ("new", "operate", "proxy")
    assert await identify(without_users, peer="127.0.0.1") == (401, "no_credentials")


async def test_unknown_and_known_names_cost_the_same_hash() -> None:
    """Neither the work nor the text tells whether a user exists."""
    answers = []
    for name in ("ada", "nobody", "tess"):
        checks = PasswordChecks()
        request = make_mocked_request("GET", "/", headers={"Authorization": basic(name, "wrong-secret")})
        with pytest.raises(AccessRefused) as caught:
            await Identification(checks=checks).principal_of(request, USERS, SOURCES)
        answers.append((caught.value.status, caught.value.detail, checks.hashed))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][2] == 1


def test_the_hash_for_unknown_names_costs_as_much_as_those_of_users() -> None:
    checks = PasswordChecks()
    hashes = (hashed("a", 4), hashed("b", 5))
    costs = [(checks.stand_in_hash(f"name{number}", hashes) or "")[:7] for number in range(100)]
    assert set(costs) == {"$2b$04$", "$2b$05$"}
    assert checks.stand_in_hash("x", hashes) == checks.stand_in_hash("x", hashes)
    assert checks.stand_in_hash("x", ()) is None


async def test_a_connection_is_checked_once_and_keeps_no_former_role() -> None:
    checks = PasswordChecks()
    identification = Identification(checks=checks)
    request = make_mocked_request("GET", "/", headers={"Authorization": basic("ada", "pw-of-ada")})
    for _ in range(3):
        assert (await identification.principal_of(request, USERS, SOURCES)).name == "ada"
    assert checks.hashed == 1
    demoted = AccessSettings((replace(ADA, role=Role.VIEW),))
    assert (await identification.principal_of(request, demoted, SOURCES)).role is Role.VIEW
    assert checks.hashed == 1
    with pytest.raises(AccessRefused):
        await identification.principal_of(
            request, AccessSettings((replace(ADA, password_hash=hashed("x")),)), ()
        )
    await identification.close()


async def test_wrong_passwords_count_against_the_client_of_the_proxy() -> None:
    identification = Identification()

    async def wrong(client: str, peer: str = "10.9.0.1", times: int = MAX_FAILURES) -> int:
        for number in range(times):
            headers = {
                "Authorization": basic("ada", f"wrong{number}{client}"),
                "X-Forwarded-For": f"192.0.2.9, {client}",
            }
            request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
            with pytest.raises(AccessRefused) as caught:
                await identification.principal_of(request, BEHIND_PROXY, SOURCES)
        return caught.value.status

    assert await wrong("198.51.100.1", times=MAX_FAILURES + 1) == 429
    assert await wrong("198.51.100.2", times=1) == 401
    assert await wrong("nonsense", times=MAX_FAILURES + 1) == 429  # then it is the proxy itself
    assert await wrong("198.51.100.3", peer="192.0.2.7") == 401
    assert (
        await wrong("198.51.100.4", peer="192.0.2.7", times=1) == 429
    )  # from others the header does not count
    await identification.close()


class _Strong:
    """Like uvloop's transport for TLS: no weak reference to it is possible."""

    __slots__ = ()


@pytest.mark.parametrize("protocol", [_Strong(), Identification()], ids=["no reference", "of the protocol"])
async def test_a_connection_with_tls_is_checked_once(
    protocol: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.Request, "transport", _Strong())
    monkeypatch.setattr(web.Request, "protocol", protocol)
    checks = PasswordChecks()
    identification = Identification(checks=checks)
    request = make_mocked_request("GET", "/", headers={"Authorization": basic("ada", "pw-of-ada")})
    for _ in range(3):
        assert (await identification.principal_of(request, USERS, SOURCES)).name == "ada"
    assert checks.hashed == 1
    await identification.close()


async def test_a_source_with_a_hash_pays_for_one_check() -> None:
    checks = PasswordChecks()
    identification = Identification(checks=checks)

    async def post(password: str, name: str | None = None, user: str = "edge") -> Source:
        request = make_mocked_request("POST", "/webhook", headers={"Authorization": basic(user, password)})
        return await identification.source_of(request, USERS, SOURCES, name)

    found = await asyncio.gather(*(post("pw-of-edge") for _ in range(20)), post("pw-of-edge", "edge"))
    assert {each.name for each in found} == {"edge"}
    assert (await post("pw-of-lab", user="lab")).name == "lab"
    assert checks.hashed == 1
    await identification.close()
