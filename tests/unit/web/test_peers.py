"""Which peers count as this machine, and which requests came through a proxy."""

import pytest
from aiohttp.test_utils import make_mocked_request

from router.model import AccessSettings, Source
from router.web.access.identification import Identification
from router.web.access.password_checks import PasswordChecks
from router.web.access.peers import AccessOptions, is_from_this_machine, is_loopback_host, network_of
from router.web.access.source_credentials import Unauthorized

LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo"]
OTHERS = [
    "192.0.2.1", "10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:192.0.2.1", "localhost", "", "/run/x.sock",
    "127.0.0.1.example", "::127.0.0.1",
]  # fmt: skip


async def source_of(
    sources: tuple[Source, ...],
    name: str | None = None,
    *,
    peer: str,
    host: str = "127.0.0.1",
    **headers: str,
) -> Source:
    request = make_mocked_request("POST", "/webhook", headers=headers).clone(remote=peer)
    identification = Identification(AccessOptions(host), PasswordChecks())
    return await identification.source_of(request, AccessSettings(), sources, name)


@pytest.mark.parametrize("peer", LOOPBACK)
async def test_loopback_is_this_machine(peer: str) -> None:
    assert await source_of((), peer=peer) == Source("default")
    assert await source_of((Source("lab"),), "lab", peer=peer) == Source("lab")


@pytest.mark.parametrize("peer", OTHERS)
async def test_every_other_peer_is_not(peer: str) -> None:
    with pytest.raises(Unauthorized, match="only this machine"):
        await source_of((), peer=peer)
    with pytest.raises(Unauthorized, match="Credentials are missing"):
        await source_of((Source("lab"),), peer=peer)


async def test_credentials_count_from_anywhere() -> None:
    prod = Source("prod", bearer_token="s3cret")
    found = await source_of((Source("lab"), prod), peer="192.0.2.1", Authorization="Bearer s3cret")
    assert found == prod


async def test_nobody_posts_without_credentials_beyond_loopback() -> None:
    with pytest.raises(Unauthorized, match="nobody while the router listens for other machines"):
        await source_of((), peer="127.0.0.1", host="0.0.0.0")


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "X-Forwarded-User", "X-Forwarded-Anything",
        "X-Real-IP", "Via", "X-Original-Forwarded-For", "CF-Connecting-IP", "True-Client-IP", "Remote-User",
    ],
)  # fmt: skip
async def test_a_forwarding_header_is_no_request_of_this_machine(name: str) -> None:
    request = make_mocked_request("GET", "/", headers={name: "127.0.0.1"}).clone(remote="127.0.0.1")
    assert not is_from_this_machine(request)
    with pytest.raises(Unauthorized):
        await source_of((), peer="127.0.0.1", **{name: ""})


async def test_a_page_in_a_browser_posts_no_webhook_without_credentials() -> None:
    with pytest.raises(Unauthorized):
        await source_of((), peer="127.0.0.1", Origin="http://127.0.0.1:9099")


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST.", "::ffff:127.0.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "", "192.0.2.1", "router.example.com", "localhost.example.com", "127.0.0.1.nip.io")),
    ],
)  # fmt: skip
def test_only_loopback_addresses_and_localhost_listen_on_loopback(host: str, *, is_loopback: bool) -> None:
    assert is_loopback_host(host) is is_loopback
    assert AccessOptions(host).is_loopback_only is is_loopback


def test_a_network_of_ipv6_is_one_guesser() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
