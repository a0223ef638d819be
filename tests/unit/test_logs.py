"""What is logged, and which secrets never are."""

import json
import logging

import pytest
import structlog

from router import logs

pytestmark = pytest.mark.usefixtures("logs_restored")


def fail() -> None:
    token = "xoxb-secret-of-nobody"
    raise ValueError(f"{len(token)} characters were refused")


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_logged_error_has_its_line_and_no_local_variable(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(form, "info")
    try:
        fail()
    except ValueError:
        structlog.get_logger("router.test").exception("it failed", destination="slack:C1")
    output = capsys.readouterr().err
    assert "characters were refused" in output
    assert "slack:C1" in output
    assert "test_logs.py" in output
    assert "secret-of-nobody" not in output


def test_each_json_line_is_one_object_also_for_libraries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json", "info")
    structlog.get_logger("router.test").info("serving", address="http://127.0.0.1:9099")
    logging.getLogger("some.library").warning("of its own")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["address"]) == ("serving", "info", "http://127.0.0.1:9099")
    assert (theirs["event"], theirs["logger"]) == ("of its own", "some.library")
