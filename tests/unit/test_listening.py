"""The fakes end with every connection to them."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.listening import still_open
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_anything import Anything
from tests.world.fake_discord import FakeDiscord
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.fake_webhook import FakeWebhook


def tls(fake: Callable[..., Any], **options: Any) -> Callable[[], Any]:
    """It waits for a handshake that never comes, so it needs no certificate."""
    return lambda: fake(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), **options)


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize(
    ("fake", "address"),
    [
        pytest.param(FakeAlertmanager, "url", id="alertmanager"),
        pytest.param(Anything, "address", id="anything"),
        pytest.param(tls(Anything), "address", id="anything-tls"),
        pytest.param(FakeDiscord, "url", id="discord"),
        pytest.param(FakePagerDuty, "url", id="pagerduty"),
        pytest.param(FakeSlack, "url", id="slack"),
        pytest.param(FakeSmtp, "smarthost", id="smtp"),
        pytest.param(tls(FakeSmtp, implicit=True), "smarthost", id="smtp-tls"),
        pytest.param(FakeWebhook, "url", id="webhook"),
    ],
)
async def test_a_fake_that_ends_leaves_no_connection_open(
    fake: Callable[[], AbstractAsyncContextManager[Any]], address: str, steps: int
) -> None:
    """The fake ends at any point while it accepts the connection, counted in steps of the event loop."""
    with socket.socket() as caller:
        async with fake() as listening:
            where = getattr(listening, address).removeprefix("http://")
            at = urlsplit(f"//{where}")
            caller.connect((at.hostname, at.port))
            for _ in range(steps):
                await asyncio.sleep(0)
        assert still_open(asyncio.get_running_loop()) == []
