"""Every channel uses the network settings: over real sockets, through a proxy, with a certificate authority."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from yarl import URL

from router.alertmanager_client import AlertmanagerClient
from router.channels import REGISTRY
from router.channels.email import EmailChannel, EmailOptions, EmailSettings
from router.model import MINUTE, Alertmanager, Broken, Delivered, Outcome, Retry
from router.network import Network, Proxies, parse_exception
from tests.unit.channels.rigs import ChannelRig, channels_with, rig_of
from tests.unit.channels.talk import NOW, TEMPLATES, conversation, destination
from tests.world.fake_anything import Anything, fall_silent, http
from tests.world.fake_proxy import PASSWORD, Asked, FakeProxy
from tests.world.fake_smtp import HANG, FakeSmtp
from tests.world.fake_smtp import PASSWORD as SMTP_PASSWORD
from tests.world.fake_smtp import USER as SMTP_USER

SERVER = "provider.proxied.example:8443"


@pytest.fixture
async def provider(rig: ChannelRig, tls: ssl.SSLContext) -> AsyncIterator[Anything]:
    async with Anything(tls) as provider:
        provider.speak = rig.success
        yield provider


@pytest.fixture
def authority(certificate: tuple[Path, Path]) -> str:
    return certificate[0].read_text()


async def send(name: str, network: Network, at: str = SERVER) -> Outcome:
    rig, kind = rig_of(name), REGISTRY[name]
    place = destination(name, kind.options.model_validate(over_tls(rig.options(at))))
    channel = kind.make(kind.settings.model_validate(over_tls(rig.settings(at))), network)
    try:
        talk = rig.conversations[0]
        return await channel.send(place, talk, channel.render(place, talk, TEMPLATES))
    finally:
        await channel.close()


def over_tls(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.replace("http:", "https:") if isinstance(value, str) else value
        for key, value in given.items()
    }


def through(url: str, *exceptions: str, authority: str = "") -> Network:
    return Network(Proxies(url, url, url, tuple(map(parse_exception, exceptions))), authority)


@pytest.mark.parametrize("proxy_speaks_tls", [False, True])
async def test_a_channel_sends_through_the_proxy(
    name: str, provider: Anything, tls: ssl.SSLContext, authority: str, proxy_speaks_tls: bool
) -> None:
    """Only the proxy can resolve the provider's name, and only the given authority signed its certificate."""
    async with FakeProxy(provider.address, tls if proxy_speaks_tls else None) as proxy:
        outcome = await send(name, through(proxy.url, authority=authority))
        assert isinstance(outcome, Delivered), outcome
        assert proxy.asked == [Asked("CONNECT", SERVER)]


async def test_a_certificate_of_an_unknown_authority_is_refused(name: str, provider: Anything) -> None:
    async with FakeProxy(provider.address) as proxy:
        outcome = await send(name, through(proxy.url))
        assert isinstance(outcome, Broken)
        assert outcome.reason == "tls: certificate not trusted"


async def test_an_authority_is_trusted_without_a_proxy_too(
    name: str, provider: Anything, authority: str
) -> None:
    async with FakeProxy(provider.address) as proxy:
        assert isinstance(await send(name, Network(), at=provider.address), Broken)
        # The proxy is not asked: the provider is on this machine.
        outcome = await send(name, through(proxy.url, authority=authority), at=provider.address)
        assert isinstance(outcome, Delivered)
        assert proxy.asked == []


async def test_an_exception_is_reached_directly(name: str, provider: Anything) -> None:
    """The request fails because the name does not exist."""
    async with FakeProxy(provider.address) as proxy:
        outcome = await send(name, through(proxy.url, ".proxied.example"))
        assert isinstance(outcome, Retry)
        assert proxy.asked == []


@pytest.mark.parametrize("fault", ["no credentials", "refused", "absent"])
async def test_what_a_proxy_does_not_forward_has_not_arrived(
    name: str, provider: Anything, unused_tcp_port: int, fault: str
) -> None:
    async with FakeProxy(provider.address) as proxy:
        proxy.refuses = fault == "refused"
        url = {
            "no credentials": proxy.url_without_credentials,
            "refused": proxy.url,
            "absent": proxy.url.replace(proxy.address, f"127.0.0.1:{unused_tcp_port}"),
        }[fault]
        outcome = await send(name, through(url))
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.ambiguous) == ("proxy failed", False)
    assert provider.connections == 0
    assert outcome.words
    for secret in (PASSWORD, "p%40ss-of-nobody"):
        assert secret not in repr(outcome)


CREDENTIALS = [
    "t0kenofnobody",
    "user:p4ss^w|rd-of-nobody",
    "user:p%C3%A4ss-of-nobody",
    "user:p!a$s'of*nobody",
]


@pytest.mark.parametrize("credentials", CREDENTIALS)
async def test_no_form_of_a_proxys_credentials_is_shown(name: str, credentials: str) -> None:
    """If the proxy refuses a request, aiohttp's error quotes the proxy's address, encoded by aiohttp's rules."""

    async def refuse(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with Anything() as proxy:
        proxy.speak = refuse
        outcome = await send(name, through(f"http://{credentials}@{proxy.address}"))
    assert isinstance(outcome, Retry)
    secret = credentials.rpartition(":")[2]
    aiohttps = URL(f"http://{credentials}@h").raw_authority.partition("@")[0].rpartition(":")[2]
    for form in (secret, unquote(secret), quote(unquote(secret)), quote(unquote(secret), safe=""), aiohttps):
        assert form not in repr(outcome)


@pytest.mark.parametrize("name", channels_with(lambda rig: not rig.speaks_smtp))
async def test_unencrypted_requests_go_through_the_proxy_too(name: str) -> None:
    rig, kind = rig_of(name), REGISTRY[name]
    async with Anything() as provider, FakeProxy(provider.address) as proxy:
        provider.speak = rig.success
        place = destination(name, kind.options.model_validate(rig.options(SERVER)))
        channel = kind.make(kind.settings.model_validate(rig.settings(SERVER)), through(proxy.url))
        message = channel.render(place, rig.conversations[0], TEMPLATES)
        assert isinstance(await channel.send(place, rig.conversations[0], message), Delivered)
        await channel.close()
        (asked,) = proxy.asked
        assert asked.method == "POST"
        assert asked.target.startswith(f"http://{SERVER}/")


@pytest.mark.parametrize("name", ["email"])
async def test_web_proxies_take_no_mail(name: str, provider: Anything) -> None:
    """Most web proxies refuse the ports of mail, so mail uses only ``Proxies.other``."""
    async with FakeProxy(provider.address) as proxy:
        outcome = await send(name, Network(Proxies(http=proxy.url, https=proxy.url)))
        assert isinstance(outcome, Retry)
        assert proxy.asked == []


async def test_starttls_and_login_work_through_a_tunnel(tls: ssl.SSLContext, authority: str) -> None:
    settings = EmailSettings.model_validate({
        "smarthost": "mail.proxied.example:587", "from": "alerts@router.example", "hello": "router.example",
        "username": SMTP_USER, "password": SMTP_PASSWORD,
    })  # fmt: skip
    place = destination("email", EmailOptions.model_validate({"to": ["anna@example.com"]}))
    async with FakeSmtp(tls) as smarthost, FakeProxy(smarthost.smarthost) as proxy:
        channel = EmailChannel(settings, through(proxy.url, authority=authority))
        for version in (1, 2):
            talk = conversation(version=version)
            outcome = await channel.send(place, talk, channel.render(place, talk, TEMPLATES))
            assert isinstance(outcome, Delivered), outcome
        assert proxy.asked == [Asked("CONNECT", "mail.proxied.example:587")] * 2
        assert len(smarthost.mails) == 2


async def test_a_stalled_tunnel_leaves_no_socket_with_the_loop(tls: ssl.SSLContext, authority: str) -> None:
    """A new connection may get the file descriptor of a closed socket."""
    settings = EmailSettings.model_validate({
        "smarthost": "mail.proxied.example:587", "from": "alerts@router.example", "hello": "router.example",
        "username": SMTP_USER, "password": SMTP_PASSWORD,
    })  # fmt: skip
    place = destination("email", EmailOptions.model_validate({"to": ["anna@example.com"]}))
    loop = asyncio.get_running_loop()
    async with FakeSmtp(tls) as smarthost, FakeProxy(smarthost.smarthost) as proxy:
        channel = EmailChannel(
            settings, through(proxy.url, authority=authority), timeout=0.3
        )  # real time: it hangs
        smarthost.fail(HANG)
        talk = conversation()
        outcome = await channel.send(place, talk, channel.render(place, talk, TEMPLATES))
        assert isinstance(outcome, Retry), outcome
        pairs = [socket.socketpair() for _ in range(20)]
        for one in (each for pair in pairs for each in pair):
            loop.add_reader(one, lambda: None)
            loop.remove_reader(one)
            one.close()
        smarthost.release()


@pytest.mark.parametrize("name", ["email"])
async def test_a_silent_proxy_is_a_failure(name: str, provider: Anything) -> None:
    async with Anything() as proxy:
        proxy.speak = fall_silent
        assert await send(name, through(f"http://{proxy.address}")) == Retry("proxy failed")
    assert provider.connections == 0


@pytest.mark.parametrize("name", ["email"])
@pytest.mark.parametrize("answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200", b"x" * 2**18, b""])
async def test_a_proxy_that_talks_nonsense_is_a_failure(name: str, provider: Anything, answer: bytes) -> None:
    async def nonsense(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with Anything() as proxy:
        proxy.speak = nonsense
        outcome = await send(name, through(f"http://{proxy.address}"))
    assert outcome == Retry("proxy failed")
    assert provider.connections == 0


@pytest.mark.parametrize("name", ["webhook"])
async def test_alertmanager_is_asked_through_the_proxy(name: str, provider: Anything, authority: str) -> None:
    url = f"https://{SERVER}"
    provider.speak = http(200, b"[]")
    peers = Alertmanager((url,), MINUTE, MINUTE, None, None, None)
    async with FakeProxy(provider.address) as proxy:
        network = through(proxy.url, authority=authority)
        client = AlertmanagerClient(lambda: network)
        assert (await client.ask(peers, NOW)).peers == {url}
        assert proxy.asked == [Asked("CONNECT", SERVER)]
        network = through(proxy.url)
        assert (await client.ask(peers, NOW)).unanswered == {url: "connection failed"}
        network = through(proxy.url, "proxied.example", authority=authority)
        assert (await client.ask(peers, NOW)).unanswered == {url: "connection failed"}
        assert len(proxy.asked) == 2
