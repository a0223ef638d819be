"""How often the client of Alertmanager reads the certificate authorities, and in which thread."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator

import pytest

from router.alertmanager_client import AlertmanagerClient
from router.model import MINUTE, Alertmanager
from router.network import Network
from tests.world.fake_alertmanager import FakeAlertmanager

OURS, ANOTHER = Network(ca_certificates="ours"), Network(ca_certificates="another")


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Return the thread that made each TLS context."""
    threads: list[threading.Thread] = []

    def tls_context(network: Network) -> ssl.SSLContext | None:
        threads.append(threading.current_thread())
        return ssl.create_default_context() if network.ca_certificates else None

    monkeypatch.setattr(Network, "tls_context", tls_context)
    return threads


@pytest.fixture
async def peer() -> AsyncIterator[Alertmanager]:
    async with FakeAlertmanager() as fake:
        yield Alertmanager((fake.url,), MINUTE, MINUTE, None, None, None)


async def ask(client: AlertmanagerClient, peer: Alertmanager) -> None:
    assert (await client.ask(peer, 0)).peers == set(peer.urls)


async def test_the_tls_context_is_made_once_for_a_configuration(
    peer: Alertmanager, makers: list[threading.Thread]
) -> None:
    client = AlertmanagerClient(lambda: OURS)
    await asyncio.gather(*(ask(client, peer) for _ in range(3)))
    await ask(client, peer)
    assert len(makers) == 1


async def test_the_tls_context_is_made_beside_the_event_loop(
    peer: Alertmanager, makers: list[threading.Thread]
) -> None:
    await ask(AlertmanagerClient(lambda: OURS), peer)
    assert threading.current_thread() not in makers


async def test_a_reload_with_other_authorities_makes_a_new_tls_context(
    peer: Alertmanager, makers: list[threading.Thread]
) -> None:
    in_force = iter([OURS, Network(ca_certificates="ours"), ANOTHER, ANOTHER])
    client = AlertmanagerClient(lambda: next(in_force))
    for _ in range(4):
        await ask(client, peer)
    assert len(makers) == 2


async def test_without_authorities_of_its_own_no_tls_context_is_made(
    peer: Alertmanager, makers: list[threading.Thread]
) -> None:
    await ask(AlertmanagerClient(Network), peer)
    assert makers == []
