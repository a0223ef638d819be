"""An event about an error names code, and quotes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

from router.telemetry.error_events import allowed, breadcrumb, error_event

SECRET = "secret-of-nobody"
NOON = 1_795_435_200_000  # 23 Nov 2026 12:00 UTC


def fail(depth: int = 0) -> None:
    local = SECRET
    if depth:
        fail(depth - 1)
    raise ValueError(f"{local} of {__file__}")


def event_about(error: BaseException) -> dict[str, Any]:
    return error_event("it failed", "router.test", error, {"error": 1}, NOON)


def raised(depth: int = 0) -> BaseException:
    with pytest.raises(ValueError) as caught:
        fail(depth)
    return caught.value


def test_an_exception_is_a_type_and_the_places_in_the_code() -> None:
    event = event_about(raised())
    (exception,) = event["exception"]["values"]
    assert (exception["type"], exception["module"]) == ("ValueError", "builtins")
    last = exception["stacktrace"]["frames"][-1]
    assert last["function"] == "fail"
    assert not last["in_app"]
    assert last["filename"] == f"{__name__.replace('.', '/')}.py"
    text = json.dumps(event)
    assert SECRET not in text
    assert __file__ not in text


def test_the_frame_of_a_template_does_not_name_its_file(tmp_path: Path) -> None:
    """Jinja gives such a frame the path of the file as the name of its module."""
    (tmp_path / "slack.j2").write_text("{% block secret %}{{ 1 / 0 }}{% endblock %}")
    template = Environment(loader=FileSystemLoader(tmp_path), autoescape=True).get_template("slack.j2")
    with pytest.raises(ZeroDivisionError) as caught:
        template.render()
    event = event_about(caught.value)
    last = event["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert (last["module"], last["filename"], last["in_app"]) == ("template", "template", False)
    assert str(tmp_path) not in json.dumps(event)
    assert "slack.j2" not in json.dumps(event)


def test_notes_of_an_exception_stay_here() -> None:
    error = raised()
    error.add_note(SECRET)
    assert SECRET not in json.dumps(event_about(error))


def test_an_exception_comes_after_its_causes() -> None:
    error = RuntimeError(SECRET)
    error.__cause__ = raised()
    event = event_about(error)
    assert [each["type"] for each in event["exception"]["values"]] == ["ValueError", "RuntimeError"]
    assert SECRET not in json.dumps(event)


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert len(event_about(one)["exception"]["values"]) == 2


def test_a_long_stack_keeps_its_innermost_frames() -> None:
    (exception,) = event_about(raised(200))["exception"]["values"]
    frames = exception["stacktrace"]["frames"]
    assert len(frames) == 60
    assert frames[-1]["lineno"] > frames[0]["lineno"]


def test_what_the_sdk_adds_is_removed() -> None:
    added = {
        "server_name": "", "modules": {"a": SECRET}, "extra": {"sys.argv": [SECRET]}, "request": {"url": SECRET},
        "user": {"email": SECRET}, "sdk": {"name": SECRET}, "message": SECRET, "threads": SECRET,
        "contexts": {"router": {"error": 1}, "trace": {"id": SECRET}, "runtime": SECRET},
    }  # fmt: skip
    event = allowed({**event_about(raised()), **added}, [breadcrumb("decision", {"source": "prod"}, NOON)])
    assert SECRET not in json.dumps(event)
    assert set(event) == {"timestamp", "level", "logger", "exception", "breadcrumbs", "tags", "contexts"}
    assert event["contexts"] == {"router": {"error": 1}}
    (crumb,) = event["breadcrumbs"]["values"]
    assert (crumb["timestamp"], crumb["data"]) == ("2026-11-23T12:00:00.000Z", {"source": "prod"})
