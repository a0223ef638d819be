"""What is logged in which form, and which secrets never are."""

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import structlog

from router import logs
from router.logs import line_writer
from router.logs.error_observers import on_error
from router.logs.line_form import MAX_FIELD_CHARS, bounded
from router.logs.line_writer import LineWriter

pytestmark = pytest.mark.usefixtures("logs_restored")

# Newlines of all kinds, escape sequences, direction overrides and isolates, a C1 control, a lone surrogate.
HOSTILE = "a\nb\r\nc\x0bd\x85e\u2028f\x1b[31mg\x9b31mh\u202ei\u2066j\x00k\x7fl\ud800m\u200fn"
FORGED = '\n2026-11-29T07:43:03.123Z info     stopped\n{"level": "info", "action": "stopped"}'


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return a function that ends the log and returns its lines."""

    def lines() -> list[str]:
        logs.close()
        return capsys.readouterr().err.splitlines()

    return lines


@pytest.fixture
def records(written: Callable[[], list[str]]) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [json.loads(line) for line in written()]


def fail(words: str = "characters were refused") -> None:
    token = "xoxb-secret-of-nobody"
    raise ValueError(f"{len(token)} {words}")


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_logged_error_has_its_line_and_no_local_variable(
    form: str, written: Callable[[], list[str]]
) -> None:
    logs.configure(form, "info")
    try:
        fail()
    except ValueError:
        structlog.get_logger("router.test").exception("it failed", destination="slack:C1")
    output = "\n".join(written())
    assert "characters were refused" in output
    assert "slack:C1" in output
    assert "test_logs.py" in output
    assert "secret-of-nobody" not in output


def test_each_json_line_is_one_object_also_for_libraries(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    logs.configure("json", "info")
    structlog.get_logger("router.test").info("serving", address="http://127.0.0.1:9099")
    logging.getLogger("some.library").warning("of its own")
    ours, theirs = records()
    assert (ours["action"], ours["level"], ours["address"]) == ("serving", "info", "http://127.0.0.1:9099")
    assert (theirs["action"], theirs["level"], theirs["logger"]) == ("of its own", "warning", "some.library")


def test_a_json_line_begins_with_the_fields_that_all_lines_share(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    logs.configure("json", "info")
    structlog.get_logger("router.test").warning(
        "delivery", group="{}", durationMs=12, tenant="default", status="retry"
    )
    (line,) = records()
    assert list(line) == [
        "timestamp", "level", "action", "status", "tenant", "durationMs", "group", "logger",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


def test_further_fields_are_made_only_for_lines_that_are_written(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    made: list[int] = []
    logs.configure("json", "info")
    log = structlog.get_logger("router.test")

    def fields() -> dict[str, int]:
        made.append(1)
        return {"number": len(made)}

    log.debug("webhook accepted", fields=fields)
    for _ in range(5_000):
        log.info("webhook accepted", fields=fields)
    found = records()
    numbers = [each["number"] for each in found if "number" in each]
    assert numbers == list(range(1, len(made) + 1))
    assert 100 <= len(numbers) < 5_000
    assert len(numbers) + sum(each.get("leftOut", 0) for each in found) == 5_000


def test_a_flood_of_warnings_is_sampled_and_counted(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    logs.configure("json", "info")
    refused, other = structlog.get_logger("router.web"), structlog.get_logger("router.other")
    for number in range(30_000):
        refused.warning("webhook refused", reason=f"wrong password {number}")
    other.warning("webhook refused", reason="of another module")
    refused.error("webhook refused", reason="an error")
    found = records()
    assert {"of another module", "an error"} <= {each.get("reason") for each in found}
    flood = [each for each in found if str(each.get("reason")).startswith("wrong password")]
    assert 20 <= len(flood) < 3_000
    assert len(flood) + sum(each.get("leftOut", 0) for each in found) == 30_000
    counts = [each for each in found if each["action"] == "log lines left out"]
    assert all((each["of"], each["level"]) == ("webhook refused", "warning") for each in counts)


def test_records_of_a_library_are_sampled_whatever_they_say(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    logs.configure("json", "info")
    for number in range(1_000):
        logging.getLogger("some.library").error("failed %s", number)
    found = records()
    lines = [each for each in found if each["action"].startswith("failed")]
    assert len(lines) < 500
    assert len(lines) + sum(each.get("leftOut", 0) for each in found) == 1_000


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_value_forges_no_line(form: str, written: Callable[[], list[str]]) -> None:
    logs.configure(form, "info")
    structlog.get_logger("router.test").warning(
        f"webhook refused{FORGED}",
        reason=HOSTILE + FORGED,
        names=[HOSTILE, FORGED],
        table={FORGED: HOSTILE},
    )
    logging.getLogger("some.library").warning("%s", HOSTILE + FORGED)
    lines = written()
    assert len([line for line in lines if not line.startswith("  | ")]) == 2
    assert all(line.isprintable() for line in lines)


def test_a_traceback_forges_no_human_line(written: Callable[[], list[str]]) -> None:
    logs.configure("human", "info")
    try:
        fail(HOSTILE + FORGED)
    except ValueError:
        structlog.get_logger("router.test").exception("it failed")
    lines = written()
    assert [line.startswith("  | ") for line in lines] == [False] + [True] * (len(lines) - 1)
    assert all(line.isprintable() for line in lines)


def test_a_human_line_is_readable(written: Callable[[], list[str]]) -> None:
    logs.configure("human", "info")
    structlog.get_logger("router.test").info(
        "delivery", status="delivered", group='{a="b"}', count=3, empty=""
    )
    (line,) = written()
    assert re.fullmatch(
        r'\S+Z info     delivery +status=delivered group="\{a=\\"b\\"\}" count=3 empty="" logger=router\.test',
        line,
    )


def test_colours_are_for_people_who_want_them(written: Callable[[], list[str]]) -> None:
    logs.configure("human", "info", colors=True)
    structlog.get_logger("router.test").error("it failed", reason="\x1b[2J")
    (line,) = written()
    assert "\x1b[31merror   \x1b[0m" in line
    assert "\x1b[2J" not in line


def test_every_field_is_bounded(records: Callable[[], list[dict[str, Any]]]) -> None:
    logs.configure("json", "info")
    structlog.get_logger("router.test").warning(
        "a" * 10_000, reason="b" * 100_000, names=["c"] * 50_000, table={str(n): n for n in range(1_000)}
    )
    (line,) = records()
    assert len(line["action"]) == 300
    assert line["reason"] == "b" * MAX_FIELD_CHARS + "… (99000 characters are left out)"
    assert line["names"][-2:] == ["c", "more 49980"]
    assert line["table"]["more"] == 980
    assert len(json.dumps(line)) < 10_000


def test_a_long_traceback_keeps_its_end(records: Callable[[], list[dict[str, Any]]]) -> None:
    logs.configure("json", "info")
    try:
        fail("x" * 50_000 + "the end")
    except ValueError:
        structlog.get_logger("router.test").exception("it failed")
    (line,) = records()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("the end")
    assert len(line["exception"]) < 8_100


@pytest.mark.parametrize(
    ("value", "expected"),
    [(float("nan"), "nan"), (1.5, 1.5), (True, True), (None, None), ((1, "a"), [1, "a"]), (b"x", "b'x'")],
)
def test_a_value_becomes_json(value: object, expected: object) -> None:
    assert bounded(value) == expected


def test_a_line_that_can_not_be_made_stops_nothing(records: Callable[[], list[dict[str, Any]]]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    logs.configure("json", "info")
    structlog.get_logger("router.test").info("delivery", status=Broken())
    (line,) = records()
    assert (line["action"], line["unreadable"]) == ("delivery", "RuntimeError")


# The writer's thread.


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIOWrapper]]:
    """A pipe whose reader reads only when the test does."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def lost_lines(lost: int, is_end: bool) -> str:
    return (f"lost {lost}\n" if lost else "") + ("end\n" if is_end else "")


def read_all(reading: int) -> tuple[list[str], threading.Thread]:
    """Return a list that gets what the pipe holds, and the thread that reads."""
    chunks: list[str] = []

    def read() -> None:
        while chunk := os.read(reading, 2**16):
            chunks.append(chunk.decode())
            if chunk.endswith(b"end\n"):
                return

    thread = threading.Thread(target=read)
    thread.start()
    return chunks, thread


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_does_not_read_stops_nobody(
    blocking: bool, pipe: tuple[int, TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "_MAX_WAITING_CHARS", 200_000)
    reading, stream = pipe
    os.set_blocking(stream.fileno(), blocking)
    writer = LineWriter(stream, lost_lines)
    for number in range(10_000):  # far more than the pipe and the queue hold; nobody reads
        writer.put(f"line {number:>90}\n")
    chunks, thread = read_all(reading)
    writer.close(60)
    thread.join()
    lines = "".join(chunks).splitlines()
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line")]
    lost = sum(int(line.split()[1]) for line in lines if line.startswith("lost"))
    assert numbers == sorted(numbers)
    assert lost > 0
    assert len(numbers) + lost == 10_000


def test_the_end_does_not_wait_for_a_reader_that_is_stuck(pipe: tuple[int, TextIOWrapper]) -> None:
    reading, stream = pipe
    writer = LineWriter(stream, lost_lines)
    for _ in range(10_000):
        writer.put("x" * 99 + "\n")
    writer.close(0.01)
    chunks, thread = read_all(reading)  # lets the writer's thread end
    writer.close(60)
    thread.join()
    assert "".join(chunks).count("\n") == 10_001


def test_a_closed_pipe_stops_nobody(pipe: tuple[int, TextIOWrapper]) -> None:
    reading, stream = pipe
    with Path(os.devnull).open() as other:
        os.dup2(other.fileno(), reading)  # no program can read what is written
    writer = LineWriter(stream, lost_lines)
    writer.put("line\n")
    writer.close(60)


@pytest.fixture
def observed() -> Iterator[list[tuple[str, str, str]]]:
    """The errors that an observer got: what failed, the logger, the type of the exception."""
    found: list[tuple[str, str, str]] = []
    end = on_error(lambda action, logger, error: found.append((action, logger, type(error).__name__)))
    yield found
    end()


def test_an_observer_gets_errors_with_an_exception(
    written: Callable[[], list[str]], observed: list[tuple[str, str, str]]
) -> None:
    logs.configure("json", "info")
    logger = structlog.get_logger("router.observed")
    try:
        fail()
    except ValueError as error:
        logger.exception("it failed", destination="slack:C1")
        logger.warning("it may fail", exc_info=error)
        logging.getLogger("a.library").exception("a text with a %s", "secret of nobody")
        logging.getLogger("a.library").warning("a warning", exc_info=True)
    logger.error("it failed elsewhere", exc_info=KeyError())
    logger.error("it has no exception")
    logger.info("it goes on")
    written()
    assert observed == [
        ("it failed", "router.observed", "ValueError"),
        ("a library reported an error", "a.library", "ValueError"),
        ("it failed elsewhere", "router.observed", "KeyError"),
    ]


def test_an_observer_gets_no_more_errors_than_the_log(
    records: Callable[[], list[dict[str, Any]]], observed: list[tuple[str, str, str]]
) -> None:
    logs.configure("json", "info")
    for _ in range(500):
        structlog.get_logger("router.flooded").error("it failed", exc_info=ValueError())
    lines = [each for each in records() if each["action"] == "it failed"]
    assert len(observed) == len(lines) < 500
