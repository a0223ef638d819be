"""Invalid HTTP: the answer names no version, and no log line quotes the request, because it may hold credentials."""

import asyncio
import logging

import pytest
from structlog.testing import capture_logs

from tests.unit.web.harness import Serve, WebHarness

BAD = [
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret-tok\x01en\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer s3cret-token\r\n\r\n",
    b"GET /?token=s3cret-\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cret-token\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: Bearer s3cret-token\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"s3cret-" * 2_000 + b"\r\n\r\n",
    b"s3cret-token\r\n\r\n",
]


@pytest.mark.parametrize("request_", BAD, ids=lambda each: each[:40].decode())
async def test_an_invalid_request_leaks_nothing(
    request_: bytes, harness: WebHarness, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await serve(harness)
    with capture_logs() as lines:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(request_)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.0 400")
    assert b"Server:" not in head
    assert b"aiohttp" not in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert [each["event"] for each in lines] == ["invalid HTTP request"]
    assert "s3cret" not in f"{lines}{caplog.text}"
    assert "Traceback" not in caplog.text
