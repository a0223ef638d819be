"""The receivers that name a destination."""

from router.decide import Policy


def receivers_of(policy: Policy) -> dict[str, list[str]]:
    """Return the names of the receivers that have each destination, by its key."""
    found: dict[str, dict[str, None]] = {}
    for name, destinations in policy.receivers.items():
        for each in destinations:
            found.setdefault(each.key, {})[name] = None
    return {key: list(names) for key, names in found.items()}
