"""A fake that ends closes every connection to it."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

from router.channels import REGISTRY
from tests.listening import still_open
from tests.unit.channels.rigs import rig_of
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_anything import Anything
from tests.world.fake_smtp import FakeSmtp


def tls(fake: Callable[..., Any], **options: Any) -> Callable[[], Any]:
    """It waits for a handshake that never comes, so it needs no certificate."""
    return lambda: fake(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), **options)


async def assert_no_connection_stays(
    fake: AbstractAsyncContextManager[Any], address: str, steps: int
) -> None:
    """Connect to a fake that ends after so many steps of the event loop, wherever it is in accepting the connection."""
    with socket.socket() as caller:
        async with fake as listening:
            where = getattr(listening, address).removeprefix("http://")
            at = urlsplit(f"//{where}")
            caller.connect((at.hostname, at.port))
            for _ in range(steps):
                await asyncio.sleep(0)
        assert still_open(asyncio.get_running_loop()) == []


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize(
    ("fake", "address"),
    [
        pytest.param(FakeAlertmanager, "url", id="alertmanager"),
        pytest.param(Anything, "address", id="anything"),
        pytest.param(tls(Anything), "address", id="anything-tls"),
        pytest.param(tls(FakeSmtp, implicit=True), "smarthost", id="smtp-tls"),
    ],
)
async def test_a_fake_that_ends_leaves_no_connection_open(
    fake: Callable[[], AbstractAsyncContextManager[Any]], address: str, steps: int
) -> None:
    await assert_no_connection_stays(fake(), address, steps)


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("name", sorted(REGISTRY))
async def test_a_fake_provider_that_ends_leaves_no_connection_open(name: str, steps: int) -> None:
    rig = rig_of(name)
    await assert_no_connection_stays(rig.fake(), "smarthost" if rig.speaks_smtp else "url", steps)
