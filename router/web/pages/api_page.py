"""The page of the API: every operation of the OpenAPI document, with examples."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aiohttp_jinja2
from aiohttp import web
from markupsafe import Markup

from router.web.api import DOCUMENT
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import page

_MAX_DEPTH = 4
_MAX_FIELDS = 150
"""How many fields of one answer are shown."""
_MANY = "…"
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ShownField:
    """A parameter, or a field of an answer."""

    name: str
    """With the names of the fields around it: ``items[].id``."""
    type: str
    words: str
    is_required: bool = False
    where: str = ""
    """path, query or body."""


@dataclass(frozen=True, slots=True)
class ShownOperation:
    """An operation as the page shows it."""

    id: str
    topic: str
    method: str
    path: str
    summary: str
    role: str
    parameters: tuple[ShownField, ...]
    answer: tuple[ShownField, ...]
    """Its fields; empty: bytes."""
    statuses: tuple[tuple[str, str], ...]
    """Each with what it means."""
    example: str
    """A command for a shell."""


def operations_of(document: Schema) -> dict[str, list[ShownOperation]]:
    """Return the operations of an OpenAPI document by topic, in its order."""
    found: dict[str, list[ShownOperation]] = {each["name"]: [] for each in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shown = _operation(method.upper(), path, operation, document["components"]["schemas"])
            found[shown.topic].append(shown)
    return found


def _operation(method: str, path: str, operation: Schema, schemas: Schema) -> ShownOperation:
    parameters = [
        ShownField(each["name"], _type(each["schema"], schemas), _words(each), each["required"], each["in"])
        for each in operation["parameters"]
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    parameters += [
        ShownField(name, _type(each, schemas), _words(each), name in body["required"], "body")
        for name, each in body.get("properties", {}).items()
    ]
    answer = operation["responses"]["200"]["content"].get("application/json")
    return ShownOperation(
        operation["operationId"], operation["tags"][0], method, path, operation["summary"], operation["x-role"],
        tuple(parameters), () if answer is None else tuple(_fields(answer["schema"], schemas)),
        tuple((status, each["description"]) for status, each in operation["responses"].items()),
        _example(method, path, parameters, body),
    )  # fmt: skip


def _words(schema: Schema) -> str:
    return str(schema.get("description", "")).replace("``", "")


def _fields(schema: Schema, schemas: Schema) -> Iterator[ShownField]:
    """Yield the fields of an answer, those inside of others after them."""
    pending = [("", schema, 0)]
    count = 0
    while pending:
        prefix, whole, depth = pending.pop()
        inner, suffix = _innermost(whole, schemas)
        if prefix:
            yield ShownField(prefix, _type(whole, schemas), _words(whole))
            count += 1
        if depth >= _MAX_DEPTH or count > _MAX_FIELDS:
            if inner.get("properties"):
                yield ShownField(f"{prefix}{suffix}.{_MANY}", "", "more fields")
            continue
        name = f"{prefix}{suffix}." if prefix else ""
        pending += [
            (f"{name}{field}", each, depth + 1)
            for field, each in reversed(inner.get("properties", {}).items())
        ]


def _innermost(schema: Schema, schemas: Schema) -> tuple[Schema, str]:
    """Return the schema inside of references, lists and "or null", and how its place is written after the field's name."""
    suffix = ""
    while True:
        options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        elif len(options) == 1:
            schema = options[0]
        elif schema.get("type") == "array" and isinstance(schema.get("items"), dict):
            schema, suffix = schema["items"], f"{suffix}[]"
        elif isinstance(schema.get("additionalProperties"), dict):
            schema, suffix = schema["additionalProperties"], f"{suffix}{{}}"
        else:
            return schema, suffix


def _type(schema: Schema, schemas: Schema) -> str:
    if "$ref" in schema:
        return _type(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each, schemas) for each in schema["anyOf"]))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " | ".join(map(str, values))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), schemas)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object, each value: {_type(schema['additionalProperties'], schemas)}"
    return str(kind)


def _example(method: str, path: str, parameters: list[ShownField], body: Schema) -> str:
    for each in parameters:
        if each.where == "path":
            path = path.replace(f"{{{each.name}}}", "1" if each.type == "integer" else each.name.upper())
    needed = [
        f"{each.name}={each.name.upper()}"
        for each in parameters
        if each.where == "query" and each.is_required
    ]
    query = f"?{'&'.join(needed)}" if needed else ""
    command = f'curl -H "Authorization: Bearer $TOKEN" "$ROUTER{path}{query}"'
    if method == "GET":
        return command
    properties = body.get("properties", {})
    values = {
        name: 1 if properties[name].get("type") == "integer" else name.upper()
        for name in body.get("required", ())
    }
    data = f" -H 'Content-Type: application/json' -d '{json.dumps(values)}'" if values else ""
    return command.replace("curl ", f"curl -X {method} ", 1) + data


async def _api(request: web.Request) -> web.Response:
    values = {"operations": request.app[_OPERATIONS].html, "info": request.app[DOCUMENT]["info"]}
    return await render(request, "api.html", values, active="api")


class _Operations:
    """The operations as HTML. It is made for the first page, because the document of an application never changes."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    @cached_property
    def html(self) -> Markup:
        template = self._app[aiohttp_jinja2.APP_KEY].get_template("api_operations.html")
        document: dict[str, Any] = self._app[DOCUMENT]
        return Markup(template.render(topics=operations_of(document)))  # noqa: S704  (the template escapes)


_OPERATIONS: web.AppKey[_Operations] = web.AppKey("operations", _Operations)


def add_api_page(app: web.Application) -> None:
    """Prepare an application for the page of the API."""
    app[_OPERATIONS] = _Operations(app)


ROUTES = (page("/api", _api),)
