"""First pages of lists, which all who ask for them share."""

from collections.abc import Callable
from typing import Any, cast

from router.decide import Severity
from router.store.alert_filters import AlertFilter
from router.store.database import Database
from router.store.page_queries import PageQueries

SEVERITY = Severity()


class CountingDatabase:
    """Counts the readings, and runs none of them."""

    def __init__(self) -> None:
        self.commits = self.readings = 0

    async def read(self, _work: Callable[[Any], Any]) -> int:
        self.readings += 1
        return self.readings


def queries() -> tuple[CountingDatabase, PageQueries]:
    database = CountingDatabase()
    return database, PageQueries(cast("Database", database))


async def test_a_first_page_is_read_once_for_all_until_a_commit() -> None:
    database, pages = queries()
    for _ in range(3):
        await pages.alerts(AlertFilter(), SEVERITY, None, 25)
    assert database.readings == 1
    database.commits += 1
    await pages.alerts(AlertFilter(), SEVERITY, None, 25)
    assert database.readings == 2


async def test_pages_that_differ_are_not_shared() -> None:
    database, pages = queries()
    await pages.alerts(AlertFilter(), SEVERITY, None, 25)
    await pages.alerts(AlertFilter(), SEVERITY, None, 26)
    await pages.alerts(AlertFilter(None), SEVERITY, None, 25)
    await pages.alert_groups(AlertFilter(), SEVERITY, None, 25)
    assert database.readings == 4


async def test_filtered_later_and_large_pages_are_not_shared() -> None:
    database, pages = queries()
    for _ in range(2):
        await pages.alerts(AlertFilter(search="db"), SEVERITY, None, 25)
        await pages.alerts(AlertFilter(), SEVERITY, ("firing critical", 7), 25)
        await pages.alerts(AlertFilter(), SEVERITY, None, 500)
        await pages.deliveries(limit=500)
    assert database.readings == 8


async def test_few_readings_are_kept_however_many_are_asked_for() -> None:
    _, pages = queries()
    for hour in range(100):
        await pages.delivery_hours(hour, hour + 1)
    assert len(pages._shared) <= 8
