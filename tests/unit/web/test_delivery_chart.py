"""The chart of deliveries per hour: heights in proportion, and no count is invisible."""

from zoneinfo import ZoneInfo

from router.model import HOUR
from router.web.api.deliveries import DeliveryHour, DeliveryHours
from router.web.pages.delivery_chart import DeliveryChart, draw_chart

MIDNIGHT = 1_795_392_000_000  # Mon 23 Nov 2026 00:00 UTC


def chart(*outcomes: dict[str, int]) -> DeliveryChart:
    hours = [DeliveryHour(at=MIDNIGHT + number * HOUR, outcomes=each) for number, each in enumerate(outcomes)]
    found = DeliveryHours(since=MIDNIGHT, until=MIDNIGHT + len(hours) * HOUR, hours=hours)
    return draw_chart(found, ZoneInfo("Asia/Kolkata"))


def test_heights_are_in_proportion_to_the_most_of_an_hour() -> None:
    found = chart({"delivered": 30, "retry": 10}, {"delivered": 10}, {})
    assert (found.peak, found.delivered, found.failed) == (40, 40, 10)
    assert [(bar.delivered_height, bar.failed_height) for bar in found.bars] == [(75, 25), (25, 0), (0, 0)]
    assert (found.bars[0].delivered_y, found.bars[0].failed_y) == (25, 0)
    assert [bar.name for bar in found.bars] == ["Mon 05:30", "Mon 06:30", "Mon 07:30"]


def test_one_failure_beside_thousands_of_deliveries_is_visible() -> None:
    found = chart({"delivered": 100_000, "broken": 1}, {"interrupted": 1})
    for bar in found.bars:
        assert bar.failed_height >= 2
        assert 0 <= bar.failed_y <= bar.delivered_y <= found.height


def test_a_chart_without_deliveries_has_no_peak() -> None:
    assert chart(*[{}] * 48).peak == 0
    assert len(chart(*[{}] * 48).ticks) == 5
