"""Every operation of the OpenAPI document answers as the document says, whatever is asked. An operation that is added later
is asked, too.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from yarl import URL

from router.config.models import FileModel
from router.store.page_queries import PageQueries
from router.web.api import ENDPOINTS
from router.web.api.openapi import openapi_document
from tests.examples import examples
from tests.world.asking import until_delivered
from tests.world.conftest import World

_CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection,
]  # fmt: skip
_MAX_ADDRESS_BYTES = 8_000
_EXAMPLES, _FEW_EXAMPLES = 6, 2
"""Of each operation, and of each kind: what the document allows, and what it forbids."""


def _ask_everything(
    address: str, document: dict[str, Any], headers: dict[str, str], count: int = _EXAMPLES
) -> Counter[int]:
    """Ask each operation with generated requests. Return how often each status was answered.

    :param count: of requests of each kind
    """
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_dict(document)
    with requests.Session() as session:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            for mode in GenerationMode:

                @given(case=operation.as_strategy(generation_mode=mode))
                @examples(count, *HealthCheck)
                def ask(case: Case[Any]) -> None:
                    answer = case.call(base_url=address, session=session, headers=headers)
                    # A longer address is no HTTP for the server, so no operation gets it.
                    assume(len(answer.request.url or "") < _MAX_ADDRESS_BYTES)
                    statuses[answer.status_code] += 1
                    case.validate_response(answer, checks=_CHECKS)

                ask()
    return statuses


async def _filled(world: World, change: Callable[[str], str] = lambda rules: rules) -> dict[str, Any]:
    """Start a service with something in each list, and return its document."""
    await world.start(change)
    assert world.service is not None
    for number in range(3):
        await world.post(f"Down{number}", "critical")
        await world.post(f"Slow{number}", "info")
    await until_delivered(world, 9)
    async with aiohttp.ClientSession() as session:
        for body in (b"no JSON", b"\x1f\x8b\0", b"{}", b"<script>alert(1)</script>"):
            async with session.post(f"{world.service.url}/webhook", data=body) as answer:
                assert answer.status == 202
    return openapi_document(ENDPOINTS, "1")


async def test_every_operation_answers_as_the_document_says(world: World) -> None:
    document = await _filled(world)
    assert world.service is not None
    statuses = await asyncio.to_thread(_ask_everything, world.service.url, document, {})
    assert statuses[200]
    assert statuses[400]
    assert not [status for status in statuses if status >= 500]


if "users" in FileModel.model_fields:

    def _with_users(rules: str) -> str:
        users = "".join(
            f"  - {{name: {role}, role: {role}, tokens: ['sha256:{sha256(role.encode()).hexdigest()}']}}\n"
            for role in ("view", "admin")
        )
        return f"{rules}\nusers:\n{users}"

    async def test_without_credentials_every_operation_is_refused(world: World) -> None:
        document = await _filled(world, _with_users)
        assert world.service is not None
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            statuses = await asyncio.to_thread(
                _ask_everything, world.service.url, document, headers, _FEW_EXAMPLES
            )
            assert set(statuses) == {401}

    async def test_a_viewer_reads_and_may_not_act(world: World) -> None:
        document = await _filled(world, _with_users)
        assert world.service is not None
        token = {"Authorization": "Bearer view"}
        statuses = await asyncio.to_thread(_ask_everything, world.service.url, document, token, _FEW_EXAMPLES)
        assert statuses[200]
        assert statuses[403]
        assert statuses[401] == 0


async def test_a_wrong_address_or_method_is_answered_with_a_problem(world: World) -> None:
    await world.start()
    assert world.service is not None
    async with aiohttp.ClientSession() as session:
        for method, path, status in (
            ("GET", "/api/v1/nothing", 404), ("GET", "/api/", 404), ("PUT", "/api/v1/actions", 405),
            ("DELETE", "/api/v1/openapi.json", 405), ("GET", "/api/v1/%ff/%00", 404), ("POST", "/api/v1/actions", 405),
        ):  # fmt: skip
            async with session.request(method, URL(f"{world.service.url}{path}", encoded=True)) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json"), path
                problem = await answer.json()
                assert problem["status"] == status
                assert problem["detail"]
                assert ("Allow" in answer.headers) == (status == 405)


def _strange() -> Iterator[str]:
    for value in ("%00", "%ff", "9" * 30, "-1", "1.5", "x" * 5_000, "%F0%9F%99%82", "", "1%00"):
        yield f"/api/v1/actions?limit={value}"
        yield f"/api/v1/actions?cursor={value}"
    yield "/api/v1/actions?%00=1"
    yield "/api/v1/actions?limit=1&limit=2"


async def test_strange_parameters_are_refused_in_words(world: World) -> None:
    await world.start()
    assert world.service is not None
    async with aiohttp.ClientSession() as session:
        for path in _strange():
            async with session.get(URL(f"{world.service.url}{path}", encoded=True)) as answer:
                assert (answer.status, answer.content_type) == (400, "application/problem+json"), path
                assert (await answer.json())["errors"], path


async def test_strange_bodies_are_refused_in_words(world: World) -> None:
    await world.start()
    assert world.service is not None
    json = {"Content-Type": "application/json"}
    bodies: tuple[tuple[bytes, dict[str, str], int], ...] = (
        (b"[" * 60_000, json, 400), (b'{"a":' * 10_000, json, 400), (b"\xff\xfe", json, 400), (b"[]", json, 400), (b"null", json, 400),
        (b'{"source": "a\\u0000", "until": 1}', json, 400), (b'{"source": "\\ud800", "until": 1}', json, 400),
        (b'{"source": "a", "until": NaN}', json, 400), (b'{"source": "a", "until": 1e999}', json, 400),
        (b'{"source": "a", "until": 99999999999999999999999}', json, 400), (b'{"source": "a", "until": ' + b"9" * 5_000 + b"}", json, 400),
        (b'{"source": "a", "until": {"b": 1}}', json, 400), (b"{}", json, 400), (b"", json, 400),
        (b'{"source": "a", "until": 1, "\\u0000": 1}', json, 400), (b'{"source": "' + b"a" * 600 + b'", "until": 1}', json, 400),
        (b" " * 70_000, json, 413), (b"source=a&until=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"source": "a", "until": 1}', {"Content-Type": "text/plain"}, 415),
        (b'{"source": "a", "until": 1}', {**json, "Content-Encoding": "gzip"}, 200),
    )  # fmt: skip
    address = f"{world.service.url}/api/v1/quarantine/settle"
    async with aiohttp.ClientSession() as session:
        for body, headers, status in bodies:
            async with session.post(
                address, data=body, headers=headers, skip_auto_headers=["Content-Type"]
            ) as answer:
                assert answer.status == status, body[:50]
                assert status == 200 or answer.content_type == "application/problem+json"
        async with session.post(f"{address}?until=1", json={"source": "a"}) as answer:
            assert answer.status == 400


async def test_an_error_of_the_router_is_a_problem_without_its_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_given: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(PageQueries, "actions", fails)
    await world.start()
    assert world.service is not None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.service.url}/api/v1/actions") as answer,
    ):
        assert (answer.status, answer.content_type) == (500, "application/problem+json")
        assert "a secret" not in await answer.text()
