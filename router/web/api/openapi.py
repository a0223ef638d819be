"""The OpenAPI 3.1 document of the API, made from the models of its operations.

https://spec.openapis.org/oas/v3.1.0
"""

from collections import Counter
from typing import Any

from pydantic.json_schema import models_json_schema

from router.web.api.endpoint import Download, Endpoint
from router.web.api.problem_details import PROBLEM_TYPE, ProblemDetails

_REF = "#/components/schemas/{model}"
# What any operation may answer.
_COMMON_PROBLEMS = {
    400: "A parameter is wrong or unknown.", 401: "Credentials are missing or wrong.", 403: "The role does not suffice.",
    429: "Too many wrong passwords came from this address.",
    421: "The Host header is not allowed.", 503: "The store can't be read or written, or there is too much to do.",
}  # fmt: skip
# What an operation with a body may answer.
_BODY_PROBLEMS = {
    408: "The body did not arrive in time.", 413: "The body is too large.", 415: "The body is not application/json.",
}  # fmt: skip
# What an operation with a name or a number in its address may answer.
_PATH_PROBLEMS = {404: "There is nothing of this name or number."}
_PREFIX = "/api/v1/"
_TOPICS = {"openapi.json": "document"}


def topic_of(path: str) -> str:
    """Return the topic that an operation belongs to: the part of its address after the prefix."""
    part = path.removeprefix(_PREFIX).partition("/")[0]
    return _TOPICS.get(part, part)


def openapi_document(endpoints: tuple[Endpoint[Any, Any], ...], version: str) -> dict[str, Any]:
    """Return the document."""
    models: list[tuple[Any, Any]] = [(ProblemDetails, "serialization")]
    for each in endpoints:
        models.append((each.query, "validation"))
        if each.answer is not Download:
            models.append((each.answer, "serialization"))
    names, definitions = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)
    schemas = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        reference = names[(each.query, "validation")]
        query = schemas[reference["$ref"].rpartition("/")[2]] if "$ref" in reference else reference
        answer = None if each.answer is Download else names[(each.answer, "serialization")]
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, query, answer)
    ids = Counter(each["operationId"] for operations in paths.values() for each in operations.values())
    assert max(ids.values()) == 1, f"operations share a name: {ids.most_common(1)}"  # noqa: S101  (a mistake of ours)
    schemas = _referenced({"paths": paths, "problem": names[(ProblemDetails, "serialization")]}, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Alert router", "version": version,
            "description": "Everything that the pages show and do. Times are milliseconds since the epoch, unless said otherwise.",
        },
        "tags": [{"name": each} for each in dict.fromkeys(topic_of(path) for path in paths)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"token": []}, {"password": []}],
    }  # fmt: skip


def _operation(
    endpoint: Endpoint[Any, Any], query: dict[str, Any], answer: dict[str, Any] | None
) -> dict[str, Any]:
    properties = query.get("properties", {})
    in_path = {name for name in properties if f"{{{name}}}" in endpoint.path}
    required = set(query.get("required", ()))
    in_body = {} if endpoint.method == "GET" else {k: v for k, v in properties.items() if k not in in_path}
    problems = (
        _COMMON_PROBLEMS
        | (_PATH_PROBLEMS if in_path else {})
        | (_BODY_PROBLEMS if endpoint.method != "GET" else {})
        | dict(endpoint.problems)
    )
    operation: dict[str, Any] = {
        "operationId": endpoint.run.__name__,
        "tags": [topic_of(endpoint.path)],
        "summary": endpoint.summary,
        "x-role": endpoint.role.word,
        "description": f"Needs the role {endpoint.role.word}.",
        "parameters": [
            _parameter(
                name, schema, "path" if name in in_path else "query", is_required=name in required | in_path
            )
            for name, schema in properties.items()
            if name not in in_body
        ],
        "responses": {
            "200": _answer("The answer.", answer),
            **{str(status): _problem(status, words) for status, words in sorted(problems.items())},
        },
    }
    if in_body:
        schema = {
            "type": "object", "properties": in_body, "additionalProperties": False,
            "required": sorted(required & set(in_body)),
        }  # fmt: skip
        operation["requestBody"] = {
            "required": bool(schema["required"]), "content": {"application/json": {"schema": schema}},
        }  # fmt: skip
    return operation


def _parameter(name: str, schema: dict[str, Any], where: str, *, is_required: bool) -> dict[str, Any]:
    words = {"description": schema["description"]} if "description" in schema else {}
    # Parameters of an address are left out, and never null.
    options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    rest = {
        key: value
        for key, value in schema.items()
        if key != "description" and (key, value) != ("default", None)
    }
    if len(options) == 1:
        rest = {key: value for key, value in rest.items() if key != "anyOf"} | options[0]
    elif options:
        rest["anyOf"] = options
    return {"name": name, "in": where, "required": is_required, "schema": rest, **words}


def _answer(words: str, answer: dict[str, Any] | None) -> dict[str, Any]:
    if answer is not None:
        return {"description": words, "content": {"application/json": {"schema": answer}}}
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    name = {"description": "The name of the file.", "schema": {"type": "string"}}
    return {
        "description": words, "headers": {"Content-Disposition": name},
        "content": {"application/octet-stream": {"schema": binary}},
    }  # fmt: skip


def _problem(status: int, words: str) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "description": words,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model="ProblemDetails")}}},
    }
    if status == 401:
        how = {"description": "How to send credentials.", "schema": {"type": "string"}}
        problem["headers"] = {"WWW-Authenticate": how}
    return problem


def _referenced(document: object, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas that a document refers to, also through other schemas."""
    found: dict[str, Any] = {}
    pending = [document]
    while pending:
        match pending.pop():
            case {"$ref": str(reference)}:
                name = reference.rpartition("/")[2]
                if name not in found:
                    found[name] = schemas[name]
                    pending.append(schemas[name])
            case dict(inner):
                pending += inner.values()
            case list(inner):
                pending += inner
    return {name: schema for name, schema in schemas.items() if name in found}
