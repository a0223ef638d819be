"""The quarantine as an operator sees it: a list, one body at a time, and what is settled."""

import gzip
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.world.browsing import SAME_ORIGIN, call, read, submit
from tests.world.conftest import World

HOSTILE = b"<script>alert(1)</script> \xe2\x80\xae javascript:alert(2) " + b"x" * 50_000


async def _send(world: World, body: bytes, **headers: str) -> int:
    """Return the number of the body in the quarantine."""
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", data=body, headers=headers) as answer,
    ):
        assert answer.status == 202
    return int((await world.get("/api/v1/quarantine?limit=1"))["items"][0]["id"])


async def test_bodies_are_listed_without_their_contents(world: World) -> None:
    await world.start()
    for body in (b"one", b"two", b"three"):
        await _send(world, body)
    found = await world.get("/api/v1/quarantine?limit=2")
    assert (found["total"], found["total_is_exact"], [each["size"] for each in found["items"]]) == (
        3, True, [5, 3]
    )  # fmt: skip
    assert all("not JSON" in each["reason"] and "begin" not in each for each in found["items"])
    rest = await world.get(f"/api/v1/quarantine?limit=2&cursor={found['next']}")
    assert ([each["size"] for each in rest["items"]], rest["next"]) == ([3], None)
    page = await read(world, "/quarantine?limit=2")
    assert "3 bodies; this page has 2" in page.text
    assert f"/quarantine?cursor={found['next']}&limit=2" in page.links


async def test_a_hostile_body_is_shown_harmlessly_and_clipped(world: World) -> None:
    await world.start()
    page = await read(world, f"/quarantine/{await _send(world, HOSTILE)}")
    assert "<script>alert(1)" not in page.html
    assert "&lt;script&gt;alert(1)" in page.html
    assert "\u202e" not in page.html
    assert "cut after 20,000 bytes" in page.text
    assert len(page.html) < 40_000
    assert not [each for each in page.links if "javascript" in each]


async def test_a_compressed_body_is_shown_inflated(world: World) -> None:
    await world.start()
    packed = await _send(world, gzip.compress(b'{"almost": ', mtime=0), **{"Content-Encoding": "gzip"})
    binary = await _send(world, bytes(range(256)))
    found = await world.get(f"/api/v1/quarantine/{packed}")
    assert (found["begin"], found["begin_is"], found["is_inflated"], found["is_cut"]) == (
        '{"almost": ', "text", True, False
    )  # fmt: skip
    assert 'Inflated. {"almost":' in (await read(world, f"/quarantine/{packed}")).text
    other = await world.get(f"/api/v1/quarantine/{binary}")
    assert b64decode(other["begin"]) == bytes(range(256))
    assert "It is not text" in (await read(world, f"/quarantine/{binary}")).text


async def test_a_settled_body_leaves_the_list_and_is_audited(world: World) -> None:
    await world.start()
    first, second, third = [await _send(world, body) for body in (b"one", b"two", b"three")]
    page = await submit(world, f"/quarantine/{second}/settle")
    assert "The body is settled." in page.text
    assert [each for each in page.ids if each.startswith("body-")] == [f"body-{third}", f"body-{first}"]
    assert "Settled" in (await read(world, f"/quarantine/{second}")).text
    assert await call(world, "POST", "/api/v1/quarantine/settle", json={"source": "default", "until": first}) == (
        200, {"settled": 1}
    )  # fmt: skip
    page = await submit(world, "/quarantine/settle", source="default", until=str(third))
    assert "Nothing is in quarantine." in page.text
    assert (await world.ledger())["webhooks"]["quarantined"] == 3
    done = (await world.get("/api/v1/actions"))["items"]
    assert [(each["action"], each["target"], each["outcome"]) for each in done] == [
        ("settle quarantined bodies", f"default, up to {third}", "done"),
        ("settle quarantined bodies", f"default, up to {first}", "done"),
        ("settle quarantined body", str(second), "done"),
    ]  # fmt: skip


async def test_what_is_not_there_is_said_in_words(world: World) -> None:
    await world.start()
    for method, path, status in (
        ("GET", "/api/v1/quarantine/7", 404), ("GET", "/api/v1/quarantine/7/body", 404),
        ("POST", "/api/v1/quarantine/7/settle", 404), ("GET", "/api/v1/quarantine?sourc=x", 400),
        ("GET", "/api/v1/quarantine?id=1", 400), ("GET", "/api/v1/quarantine/7?id=8", 400),
        ("GET", "/api/v1/quarantine?cursor=WyJhIl0", 400), ("GET", "/api/v1/quarantine/x", 400),
    ):  # fmt: skip
        answered, problem = await call(world, method, path)
        assert (answered, problem["status"]) == (status, status), path
    status, problem = await call(world, "POST", "/api/v1/quarantine/7/settle", json={"id": 8})
    assert (status, problem["errors"][0]["parameter"]) == (400, "id")
    assert (await read(world, "/quarantine/7")).status == 404
    assert "no body with the number 7" in (await read(world, "/quarantine/7")).text
    assert (await read(world, "/quarantine?limit=x")).status == 400


async def test_a_form_is_bounded_and_needs_its_fields(world: World) -> None:
    await world.start()
    assert world.service is not None

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000

    form = {"Content-Type": "application/x-www-form-urlencoded", **SAME_ORIGIN}
    bodies: tuple[tuple[Any, dict[str, str], int], ...] = (
        (chunks(), form, 413), (b"a=1&" * 2_000, form, 400), (b"", form, 400), (b"source=a&until=x", form, 400),
        (b"source=%00&until=1", form, 400), (b"source=\xff&until=1", form, 303), (b"{}", SAME_ORIGIN, 415),
    )  # fmt: skip
    async with aiohttp.ClientSession() as session:
        for body, headers, status in bodies:
            async with session.post(
                f"{world.service.url}/quarantine/settle", data=body, headers=headers, allow_redirects=False
            ) as answer:
                assert (answer.status, answer.content_type) == (
                    status, "text/html" if status >= 400 else "application/octet-stream"
                ), body  # fmt: skip
