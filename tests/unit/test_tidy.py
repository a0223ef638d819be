"""The check that keeps tests from going by real time."""

import pytest

from tests.tidy import by_real_time


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("time.sleep(1)", "time.sleep waits for no signal"),
        ("await asyncio.sleep(0.1)", "asyncio.sleep waits for no signal"),
        ("await asyncio.sleep(dice.random())", "asyncio.sleep waits for no signal"),
        ("await asyncio.wait_for(process.wait(), 10)", "asyncio.wait_for gives it 10 s"),
        ("await asyncio.wait_for(process.wait(), timeout=10)", "asyncio.wait_for gives it 10 s"),
        ("async with asyncio.timeout(0.5):\n    pass", "asyncio.timeout gives it 0.5 s"),
        ("process.wait(timeout=5)", "process.wait gives it 5 s"),
        ("assert time.monotonic() - began < 1", "time.monotonic is the real time"),
        ("began = time.perf_counter()", "time.perf_counter is the real time"),
    ],
)
def test_a_line_that_a_busy_machine_breaks_is_found(line: str, what: str) -> None:
    ((number, found),) = by_real_time(f"import anything\n{line}\n")
    assert number == 2
    assert found == f"{what}: wait for a signal, or say why: # real time: …"


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(0)",
        "await asyncio.wait_for(process.wait(), 600)",
        "async with asyncio.timeout(GUARD):\n    pass",
        "await changed.wait_for(ready)",
        "await asyncio.sleep(0.1)  # real time: between two questions",
        "call(\n    anything, timeout=5  # real time: a setting\n)",
    ],
)
def test_a_line_that_no_machine_breaks_or_that_says_why_passes(line: str) -> None:
    assert not list(by_real_time(line))
