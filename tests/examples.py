"""The number of examples of a property."""

from typing import Any

from hypothesis import HealthCheck, settings

_HUNT_FACTOR = 30


def examples(in_the_suite: int, *suppressed: HealthCheck, **more: Any) -> settings:
    """Return settings with this number of examples in ``make test``, and thirty times as many in ``make hunt``.

    :param suppressed: health checks to suppress, besides the one about slow examples, which depends on the machine
    :param more: other settings of Hypothesis
    """
    hunts = settings.get_current_profile_name() == "hunt"
    number = in_the_suite * (_HUNT_FACTOR if hunts else 1)
    return settings(max_examples=number, suppress_health_check=[HealthCheck.too_slow, *suppressed], **more)
