"""An OpenTelemetry collector that takes spans as protobuf over HTTP, and refuses anything else.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.world.fake_server import FakeServer, Fault


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as the collector decoded it. Ids are hex; ``parent`` and ``state`` may be empty."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    attributes: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    links: tuple[tuple[str, str], ...]
    """The trace and the span of each link."""
    has_failed: bool


class FakeCollector(FakeServer):
    """``async with FakeCollector() as collector: … endpoint: collector.url``

    :param authorization: the header that it wants, if any
    """

    routes = (("POST", "/{path:.*}"),)

    def __init__(self, *, authorization: str | None = None) -> None:
        super().__init__()
        self.authorization = authorization
        self.spans: list[SeenSpan] = []
        self.resources: list[Mapping[str, Any]] = []
        self.raw: list[bytes] = []
        """The bodies that were accepted."""
        self.refusals: list[str] = []

    def named(self, name: str) -> list[SeenSpan]:
        """The spans with a name; nothing was refused."""
        assert not self.refusals
        return [each for each in self.spans if each.name == name]

    def _shown(self) -> str:
        return f"{self.spans}, refused: {self.refusals}"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        raw = await request.read()
        return "POST", gzip.decompress(raw) if request.headers.get("Content-Encoding") == "gzip" else raw

    def _take(self, request: web.Request, body: bytes) -> web.Response:
        refused = ""
        if request.path != "/v1/traces" or request.content_type != "application/x-protobuf":
            refused = f"{request.path} does not take {request.content_type}"
        elif self.authorization != request.headers.get("Authorization"):
            refused = "wrong credentials"
        if refused:
            self.refusals.append(refused)
            return web.Response(status=400, text=refused)
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(_values(resource.resource.attributes))
            self.spans += [_seen(span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        pass


def _seen(span: Any) -> SeenSpan:
    kind = span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
    events = tuple({"name": each.name, **_values(each.attributes)} for each in span.events)
    links = tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links)
    return SeenSpan(
        span.name, kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.trace_state,
        _values(span.attributes), events, links, span.status.code == span.status.STATUS_CODE_ERROR,
    )  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
