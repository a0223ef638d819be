"""The checks of ``tests/tidy.py``: real time in tests, and names."""

import pytest

from tests.tidy import MAX_TEST_NAME_CHARS, by_real_time, untidy_names


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("time.sleep(1)", "time.sleep waits for no signal"),
        ("await asyncio.sleep(0.1)", "asyncio.sleep waits for no signal"),
        ("await asyncio.sleep(dice.random())", "asyncio.sleep waits for no signal"),
        ("await asyncio.wait_for(process.wait(), 10)", "asyncio.wait_for has a limit of 10 s"),
        ("await asyncio.wait_for(process.wait(), timeout=10)", "asyncio.wait_for has a limit of 10 s"),
        ("async with asyncio.timeout(0.5):\n    pass", "asyncio.timeout has a limit of 0.5 s"),
        ("process.wait(timeout=5)", "process.wait has a limit of 5 s"),
        ("assert time.monotonic() - began < 1", "time.monotonic is the real time"),
        ("began = time.perf_counter()", "time.perf_counter is the real time"),
    ],
)
def test_a_line_that_depends_on_real_time_is_found(line: str, what: str) -> None:
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
def test_a_line_that_is_independent_or_says_why_passes(line: str) -> None:
    assert not list(by_real_time(line))


def found_in(**texts: str) -> list[str]:
    """Return what is untidy in files that are given by path, with ``__`` for a slash."""
    files = {f"{name.replace('__', '/')}.py": text for name, text in texts.items()}
    return [f"{name}:{line}: {what}" for name, line, what in untidy_names(files)]


def test_two_modules_of_the_router_with_one_name_are_found() -> None:
    assert found_in(router__web__schedule="", router__deliver__schedule="", tests__schedule="") == [
        "router/web/schedule.py:1: router/deliver/schedule.py has the same name"
    ]


def test_two_classes_of_the_router_with_one_name_are_found() -> None:
    assert found_in(
        router__a="class Lane: ...", router__b="\nclass Lane: ...", tests__c="class Lane: ..."
    ) == ["router/b.py:2: router/a.py has a class Lane as well"]


def test_a_function_with_the_name_of_its_module_is_found() -> None:
    found = found_in(router__attempt="async def attempt(): ...\nclass A:\n    def attempt(self): ...")
    assert found == ["router/attempt.py:1: the function attempt has the name of its module"]


@pytest.mark.parametrize(
    "code",
    [
        "told = 1", "row.told", "def told_before(): ...", "class LaneDepot: ...", "def f(*, moot): ...",
        "from router import books", "import router.b as upkeep",
    ],
)  # fmt: skip
def test_a_replaced_word_is_found_in_an_identifier(code: str) -> None:
    (found,) = found_in(router__any=code)
    assert found.endswith(": use the word of the glossary instead")


@pytest.mark.parametrize("code", ["untold = 1", "notebooks = 1", "x = 'told'", "# told"])
def test_a_replaced_word_within_a_word_or_a_text_passes(code: str) -> None:
    assert found_in(router__any=code) == []


def test_a_migration_may_use_the_words_of_its_tables() -> None:
    assert found_in(router__store__migrations__any="told = 1") == []


@pytest.mark.parametrize(
    ("length", "is_found"), [(MAX_TEST_NAME_CHARS, False), (MAX_TEST_NAME_CHARS + 1, True)]
)
def test_a_long_name_of_a_test_is_found(length: int, *, is_found: bool) -> None:
    name = "test_".ljust(length, "x")
    assert bool(found_in(tests__any=f"class T:\n    async def {name}(): ...")) is is_found
