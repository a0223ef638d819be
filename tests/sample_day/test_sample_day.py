"""docs/examples/ has what the commands print about the day. ``UPDATE_GOLDEN=1 pytest``, or ``make examples``, writes it again."""

from pathlib import Path

from tests.gallery.test_gallery import check_text
from tests.sample_day.__main__ import EXAMPLES
from tests.sample_day.playing import played
from tests.sample_day.reports import reports_of


async def test_the_examples_are_what_the_commands_print(tmp_path: Path) -> None:
    async with played(tmp_path) as day:
        texts = await reports_of(day)
        assert (await day.service.store.pages.status())["imbalance"] == 0
        assert all(each.status == 202 for each in day.pagerduty.events)
    for name, text in texts.items():
        check_text(EXAMPLES / name, text)
    assert {each.name for each in EXAMPLES.iterdir()} == {*texts, "README.md"}
