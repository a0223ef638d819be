"""With how many examples a property is tried."""

from typing import Any

from hypothesis import HealthCheck, settings

_HUNTED = 30


def examples(in_the_suite: int, *suppressed: HealthCheck, **more: Any) -> settings:
    """So many in ``make test``, where everybody waits for them; ``make hunt`` tries many times as many, and new ones.

    :param suppressed: health checks, besides the one of how long examples take, which says how busy the machine is
    :param more: other settings of hypothesis
    """
    hunts = settings.get_current_profile_name() == "hunt"
    number = in_the_suite * (_HUNTED if hunts else 1)
    return settings(max_examples=number, suppress_health_check=[HealthCheck.too_slow, *suppressed], **more)
