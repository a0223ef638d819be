"""Whatever comes: what an answer promises is what was stored, byte by byte."""

import asyncio
import gzip
import json
import zlib
from base64 import b64decode
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from aiohttp import ClientOSError, ClientPayloadError
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.store import quarantined_bodies
from tests.examples import examples
from tests.unit.web.harness import Client, Serve, WebHarness
from tests.waiting import until
from tests.world.bodies import alert, webhook

gzipped = partial(gzip.compress, mtime=0)  # the same bytes in every process
PLAIN = json.dumps(webhook(alert())).encode()
GZIP = gzipped(PLAIN)
ZLIB = zlib.compress(PLAIN)
RAW = ZLIB[2:-4]


def shown(value: str | bytes) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value[:40]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    closed: bool
    """Whether the connection was closed after it."""


async def sent(client: Client, body: bytes, *headers: str) -> Answer:
    """Post raw bytes over a socket of its own; ``headers`` as they stand on the wire."""
    framing = (
        ()
        if any(each.lower().startswith("transfer-encoding") for each in headers)
        else (f"Content-Length: {len(body)}",)
    )
    head = "\r\n".join(["POST /webhook HTTP/1.1", "Host: x", *framing, *headers, "", ""]).encode()
    # Beside each other: what is refused by its head alone may be answered before the body has gone out.
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(head)
    await writer.drain()
    writer.write(body)
    status = int((await reader.readline()).split()[1])
    fields = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        fields[name.lower()] = value.strip()
    text = await reader.readexactly(int(fields["content-length"]))
    writer.close()
    await writer.wait_closed()
    return Answer(status, json.loads(text), fields, fields.get("connection") == "close")


async def kept(client: Client) -> list[tuple[bytes, str | None]]:
    """What is in quarantine, whole, with its encoding."""
    rows = (await (await client.get("/api/v1/quarantine?limit=100")).json())["items"]
    bodies = [await (await client.get(f"/api/v1/quarantine/{row['id']}/body")).read() for row in rows]
    return [(body, row["encoding"]) for body, row in zip(bodies, rows, strict=True)]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", GZIP), ("x-gzip", GZIP), ("GZip", GZIP), (" gzip ", GZIP), ("identity, gzip", GZIP), ("gzip,", GZIP),
        ("gzip", gzipped(PLAIN[:40]) + gzipped(PLAIN[40:])),
        ("gzip", gzipped(b"") + GZIP + gzipped(b"")),
        ("gzip", b"".join(gzipped(PLAIN[n : n + 1]) for n in range(len(PLAIN)))),
        ("deflate", ZLIB), ("Deflate", ZLIB), ("deflate", RAW),
        ("identity", PLAIN), ("Identity", PLAIN), ("", PLAIN), ("identity, identity", PLAIN),
    ],
    ids=shown,
)  # fmt: skip
async def test_what_is_understood_is_accepted(
    encoding: str, body: bytes, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    assert (await sent(client, body, f"Content-Encoding: {encoding}")).status == 200
    assert await harness.accepted() == 1
    assert await kept(client) == []


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("gzip", PLAIN, "it is not gzip"),
        ("deflate", PLAIN, "it is not deflate"),
        ("deflate", GZIP, "it is not deflate"),
        ("gzip", ZLIB, "it is not gzip"),
        ("gzip", b"\n", "in the middle of its gzip data|it is not gzip"),
        *(("gzip", flipped(GZIP, at), "can't be inflated") for at in (0, 2, len(GZIP) // 2, -1 % len(GZIP), -8 % len(GZIP))),
        *(("deflate", flipped(ZLIB, at), "can't be inflated") for at in (0, len(ZLIB) // 2, len(ZLIB) - 1)),
        *(("gzip", GZIP[:length], "in the middle of its gzip data") for length in (1, 9, 10, 100, len(GZIP) - 1)),
        ("deflate", ZLIB[:-1], "in the middle of its deflate data"),
        ("deflate", RAW[:-1], "can't be inflated"),
        ("gzip", GZIP + b"more", f"the data at byte {len(GZIP)} is not gzip"),
        ("gzip", GZIP + b"\0", f"ends in the middle|byte {len(GZIP)}"),
        ("gzip", GZIP + GZIP[:-1], "in the middle"),
        ("gzip", GZIP + gzipped(b"") * 1_000, "20 bytes follow its gzip data"),
        ("deflate", ZLIB + b"more", "4 bytes follow its deflate data"),
        ("deflate", RAW + b"more", "can't be inflated"),
        ("gzip", gzipped(b"no webhook"), "not JSON"),
        ("deflate", zlib.compress(b"[]"), "not a webhook"),
        ("gzip", gzipped(b""), "not JSON"),
        ("gzip", gzipped(GZIP), "not JSON"),
        ("gzip", b"", "not JSON"), ("deflate", b"", "not JSON"), ("identity", b"", "not JSON"),
        ("identity", GZIP, "not JSON"), ("", bytes(range(256)), "not JSON"),
    ],
    ids=shown,
)  # fmt: skip
async def test_what_cannot_be_used_is_kept_as_it_came(
    encoding: str, body: bytes, why: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        answer = await sent(client, body, f"Content-Encoding: {encoding}")
    assert answer.status == 202
    assert any(each in answer.body["reason"] for each in why.split("|"))
    assert "the body is kept" in answer.body["reason"]
    known = encoding if encoding in {"gzip", "deflate"} else None
    assert await kept(client) == [(body, known)]
    assert await harness.accepted() == 0
    assert not [each for each in logs if each.get("exc_info")]


async def test_an_accepted_body_with_oddities_is_kept_as_it_came_as_well(
    harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    body = gzipped(json.dumps(webhook(alert(), 7)).encode())
    assert (await sent(client, body, "Content-Encoding: gzip")).status == 200
    assert await kept(client) == [(body, "gzip")]


@pytest.mark.parametrize("body", [PLAIN, GZIP, b"", b"x" * 50_000], ids=["plain", "gzip", "empty", "large"])
@pytest.mark.parametrize(
    "headers",
    [
        ["br"], ["zstd"], ["compress"], ["gzip, gzip"], ["gzip", "gzip"], ["gzip, br"], ["deflate, gzip"], ["br", "gzip"],
        ["utf-8"], ["aws-chunked"], ["gzip;q=1"], ['"gzip"'], ["*"], ["x" * 4_000], ["gz\xefp"], ["none"],
    ],
    ids=lambda each: ",".join(each)[:20],
)  # fmt: skip
async def test_another_compression_is_refused_with_what_is_understood(
    headers: list[str], body: bytes, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    with capture_logs() as logs:
        answer = await sent(client, body, *(f"Content-Encoding: {each}" for each in headers))
    assert answer.status == 415
    assert answer.body["status"] == "unsupported"
    assert "gzip, deflate" in answer.body["reason"]
    assert len(answer.body["reason"]) < 1_000
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert harness.counted("default", "unsupported") == 1
    assert (await harness.store.pages.status())["webhooks"] == {"accepted": 0, "quarantined": 0}
    assert [each["event"] for each in logs] == ["webhook refused"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
@pytest.mark.parametrize("shape", ["one", "members", "then broken"])
async def test_a_bomb_is_refused_for_what_it_would_become(
    encoding: str, shape: str, harness: WebHarness, serve: Serve
) -> None:
    harness.max_body = 2**20
    client = await serve(harness)
    zeros = bytes(2**20 + 1)
    packed = {"gzip": gzipped(zeros), "deflate": zlib.compress(zeros), "raw": zlib.compress(zeros)[2:-4]}[
        encoding
    ]
    if shape == "members":
        packed = gzipped(zeros[: 2**19]) * 3
    elif shape == "then broken":
        packed += b"broken"
    assert len(packed) < 10_000
    header = "gzip" if shape == "members" else encoding.replace("raw", "deflate")
    answer = await sent(client, packed, f"Content-Encoding: {header}")
    assert answer.status == 413
    assert f"{2**20} bytes" in answer.body["reason"]
    assert harness.counted("default", "too_large") == 1
    assert await kept(client) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_a_body_is_taken_up_to_the_limit_and_not_a_byte_more(
    encoding: str, harness: WebHarness, serve: Serve
) -> None:
    packed = {"gzip": gzipped(PLAIN), "deflate": ZLIB, "identity": PLAIN}[encoding]
    for limit, status in ((len(PLAIN), 200), (len(PLAIN) - 1, 413)):
        harness.max_body = limit
        client = await serve(harness)
        assert (await sent(client, packed, f"Content-Encoding: {encoding}")).status == status


async def test_a_compressed_body_over_the_limit_is_refused_uninflated(
    harness: WebHarness, serve: Serve
) -> None:
    harness.max_body = 1_024
    client = await serve(harness)
    answer = await sent(client, gzipped(b"") * 500, "Content-Encoding: gzip")
    assert answer.status == 413


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (*chunks, b""))


async def test_a_chunked_body_is_read_whole(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    for headers, body in (([], PLAIN), (["Content-Encoding: gzip"], GZIP)):
        assert (
            await sent(client, chunked(body[:50], body[50:]), "Transfer-Encoding: chunked", *headers)
        ).status == 200
    assert await harness.accepted() == 2


@pytest.mark.parametrize(
    "broken", [b"zz\r\n{}\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"f" * 30 + b"\r\nx"],
    ids=["no number", "negative", "longer than it says", "endless"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("begun", [True, False], ids=["while it is read", "at once"])
async def test_a_body_whose_framing_breaks_is_promised_nothing(
    broken: bytes,
    encoding: str,
    begun: bool,
    harness: WebHarness,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it breaks while it is read, the server tells us nothing: it is a body that doesn't come."""
    harness.read_seconds = 0.05
    client = await serve(harness)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    expect = "Expect: 100-continue\r\n" if begun else ""
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\n{expect}Transfer-Encoding: chunked\r\nContent-Encoding: {encoding}\r\n\r\n"
    writer.write(head.encode())
    if begun:
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"%x\r\n%b\r\n" % (100, GZIP[:100]) + broken)
    fields = (await reader.readuntil(b"\r\n\r\n")).split()
    answer = await reader.readexactly(int(fields[fields.index(b"Content-Length:") + 1]))
    writer.close()
    await writer.wait_closed()
    assert fields[1] in ({b"503"} if begun else {b"400", b"503"})
    assert b"kept" not in answer
    assert await kept(client) == []
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_while_nothing_can_be_kept_nothing_is_promised(
    encoding: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    await harness.store.close()
    answer = await sent(client, b"broken", f"Content-Encoding: {encoding}")
    assert answer.status == 503
    assert "kept" not in answer.body["reason"]


@given(
    body=st.one_of(
        st.binary(max_size=400),
        st.sampled_from([PLAIN, GZIP, ZLIB, RAW]),
        st.builds(flipped, st.sampled_from([GZIP, ZLIB]), st.integers(0, len(ZLIB) - 1)),
        st.builds(lambda data, more: data + more, st.sampled_from([GZIP, ZLIB, RAW]), st.binary(max_size=40)),
        st.builds(
            lambda data, length: data[:length], st.sampled_from([GZIP, ZLIB, RAW]), st.integers(0, 300)
        ),
    ),
    encoding=st.one_of(
        st.sampled_from(["gzip", "x-gzip", "deflate", "identity", "br", "gzip, gzip", "GZIP"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
)
@examples(20, HealthCheck.function_scoped_fixture)
async def test_a_promise_is_what_is_stored(
    body: bytes, encoding: str, harness: WebHarness, serve: Serve
) -> None:
    client = await serve(harness)
    before = len(await kept(client))
    answer = await sent(client, body, f"Content-Encoding: {encoding}")
    assert answer.status in {200, 202, 413, 415, 503}
    after = await kept(client)
    if answer.status == 202:
        assert after[0][0] == body
    assert len(after) - before == (answer.status == 202)
    await client.close()


async def test_a_body_begins_as_text_or_as_base64(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    long = "é" * 20_001
    for body in (
        b"no webhook \xe2\x82\xac",
        b"\x1f\x8b\0\xff",
        b"nul \0",
        long.encode(),
        b"a" + long.encode(),
        bytes(50_000),
    ):
        assert (await sent(client, body)).status == 202
    listed = (await (await client.get("/api/v1/quarantine")).json())["items"]
    rows = [await (await client.get(f"/api/v1/quarantine/{row['id']}")).json() for row in listed]
    assert [(row["begin_is"], row["is_cut"], row["size"]) for row in rows] == [
        ("base64", True, 50_000), ("text", True, 40_003), ("text", True, 40_002),
        ("base64", False, 5), ("base64", False, 4), ("text", False, 14),
    ]  # fmt: skip
    assert b64decode(rows[0]["begin"]) == bytes(20_000)
    assert rows[1]["begin"] == "a" + "é" * 9_999
    assert rows[2]["begin"] == "é" * 10_000
    assert b64decode(rows[4]["begin"]) == b"\x1f\x8b\0\xff"
    assert rows[5]["begin"] == "no webhook €"


async def test_a_kept_body_is_handed_out_for_saving_only(harness: WebHarness, serve: Serve) -> None:
    client = await serve(harness)
    page = b"<script>alert(1)</script>"
    await sent(client, page)
    answer = await client.get("/api/v1/quarantine/1/body")
    assert await answer.read() == page
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "Content-Encoding" not in answer.headers
    head = await client.head("/api/v1/quarantine/1/body")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(page)))
    await sent(client, PLAIN)
    for name in ("2", "7"):
        assert (await client.get(f"/api/v1/quarantine/{name}/body")).status == 404
    for name in ("x", "-1", "9" * 30, "0"):
        assert (await client.get(f"/api/v1/quarantine/{name}/body")).status == 400


async def test_a_body_that_is_deleted_while_it_is_read_has_no_end(
    harness: WebHarness, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantined_bodies, "PIECE_BYTES", 1_000)
    client = await serve(harness)
    await sent(client, b"x" * 2_500)
    read = quarantined_bodies.body_piece

    def some(connection: Any, number: int, offset: int, size: int = 1_000) -> bytes | None:
        return None if offset else read(connection, number, offset, size)

    monkeypatch.setattr(quarantined_bodies, "body_piece", some)
    answer = await client.get("/api/v1/quarantine/1/body")
    with pytest.raises((ClientPayloadError, ClientOSError)):
        await answer.read()


async def test_only_some_bodies_are_downloaded_at_a_time(harness: WebHarness, serve: Serve) -> None:
    harness.max_body = 40 * 2**20
    client = await serve(harness)
    await sent(client, bytes(32 * 2**20))
    # More than the sockets hold, so that none of these ends.
    slow = [await client.get("/api/v1/quarantine/1/body") for _ in range(8)]
    refused = await client.get("/api/v1/quarantine/1/body")
    assert (refused.status, refused.content_type) == (503, "application/problem+json")
    for each in slow:
        each.close()

    async def has_room() -> bool:
        answer = await client.get("/api/v1/quarantine/1/body")
        answer.close()
        return answer.status == 200

    await until(has_room, "a download has ended")
