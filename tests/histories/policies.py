"""The rules of the histories: each is a routes.yaml in ``policies/``."""

from functools import cache
from pathlib import Path

from router.channels import destination_as_json
from router.config import load
from router.model import SECOND, Millis
from router.store import Adoption

_FOLDER = Path(__file__).parent / "policies"
NAMES = ("office", "each", "two_sided", "failover", "several", "alone")
MONDAY: Millis = 1_795_392_000_000
"""Mon 23 Nov 2026 00:00 UTC: times of a history count from here."""


@cache
def adoption(name: str) -> Adoption:
    config = load(_FOLDER / f"{name}.yaml", environ={}, now=MONDAY)
    return Adoption(
        config.policy, {key: destination_as_json(each) for key, each in config.policy.destinations.items()}
    )


def moment(seconds: float) -> Millis:
    return MONDAY + round(seconds * SECOND)


def seconds(at: Millis | None) -> float | None:
    """Return a time as a history writes it: an integer if it has whole seconds."""
    if at is None:
        return None
    whole, rest = divmod(at - MONDAY, SECOND)
    return (at - MONDAY) / SECOND if rest else whole
