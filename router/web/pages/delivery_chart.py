"""The chart of deliveries by hour, as numbers for its template."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from router.core.rows import FAILED_OUTCOMES
from router.model import SECOND, Millis
from router.web.api.deliveries import DeliveryHours

_HEIGHT = 100
_BAR_WIDTH = 10
_GAP = 2
_TICKS = 4
# A single delivery beside thousands is still seen.
_MIN_HEIGHT = 2


@dataclass(frozen=True, slots=True)
class HourBar:
    """The bar of an hour. Lengths are in units of the SVG."""

    at: Millis
    name: str
    """The hour, for people."""
    delivered: int
    failed: int
    x: int
    delivered_y: int
    delivered_height: int
    failed_y: int
    failed_height: int


@dataclass(frozen=True, slots=True)
class DeliveryChart:
    """The whole chart."""

    bars: tuple[HourBar, ...]
    ticks: tuple[str, ...]
    """Some of the hours, at equal distances from the first to the last one."""
    width: int
    height: int
    bar_width: int
    peak: int
    """The most deliveries of an hour; 0: there was none."""
    delivered: int
    failed: int


def draw_chart(hours: DeliveryHours, zone: ZoneInfo) -> DeliveryChart:
    """Return the chart of some hours.

    :param zone: hours are named in it
    """
    counts = [
        (
            each.at,
            each.outcomes.get("delivered", 0),
            sum(each.outcomes.get(name, 0) for name in FAILED_OUTCOMES),
        )
        for each in hours.hours
    ]
    peak = max((delivered + failed for _, delivered, failed in counts), default=0)
    bars = []
    for number, (at, delivered, failed) in enumerate(counts):
        low, high = _length(delivered, peak), _length(failed, peak)
        low = min(low, _HEIGHT - high)
        bars.append(
            HourBar(
                at, _hour_name(at, zone), delivered, failed, number * _BAR_WIDTH, _HEIGHT - low, low,
                _HEIGHT - low - high, high,
            )
        )  # fmt: skip
    ticks = dict.fromkeys(number * (len(bars) - 1) // _TICKS for number in range(_TICKS + 1))
    return DeliveryChart(
        tuple(bars), tuple(bars[number].name for number in ticks), max(1, len(bars)) * _BAR_WIDTH, _HEIGHT, _BAR_WIDTH - _GAP, peak,
        sum(bar.delivered for bar in bars), sum(bar.failed for bar in bars),
    )  # fmt: skip


def _length(count: int, peak: int) -> int:
    return max(_MIN_HEIGHT, count * _HEIGHT // peak) if count else 0


def _hour_name(at: Millis, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at / SECOND, zone):%a %H:%M}"
