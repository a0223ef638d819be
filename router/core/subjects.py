"""An alert as one group reports it: it names the conversations that the alert belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from router.core.conversations import slot_token, token_of
from router.core.rows import AlertRow
from router.core.state import State
from router.decide import Policy
from router.model import Destination, Millis


@dataclass(frozen=True, slots=True)
class Subject:
    """An alert as one group reports it."""

    alert: int
    source: str
    identity: str
    level: str
    group: int
    receiver: str
    group_key: str
    tenant: str = ""
    """The tenant that a change of it counts for; empty: no tenants are configured, or no change is reported."""

    def at(self, destination: Destination) -> tuple[str, str]:
        """Return the (source, subject) that names its conversation at a destination; the destination is no digest."""
        if destination.per_alert:
            return self.source, f"alert:{self.identity}"
        return self.source, f"group:{self.receiver}:{self.group_key}"

    def token(self, destination: Destination) -> str:
        return token_of(destination.key, *self.at(destination))


def subject_of(state: State, alert: AlertRow, group_id: int) -> Subject:
    """Return an alert as this group reports it."""
    group = state.groups[group_id]
    return Subject(
        alert.id, alert.source, alert.identity, alert.level, group.id, group.receiver, group.group_key
    )


def want_memberships(
    state: State,
    policy: Policy,
    destinations: Iterable[tuple[Subject, Iterable[Destination]]],
    now: Millis,
) -> None:
    """Request the latest conversations of alerts at their destinations, and the members in them.

    :param destinations: by subject; the ``alert`` of a subject is 0 if it is new
    :raises MissingRows: some are not loaded yet
    """
    if state.complete:
        return
    tokens = [
        (subject.alert, slot_token(policy, each.key, now) if each.digest else subject.token(each))
        for subject, several in destinations
        for each in several
        if not each.digest or each.key in policy.schedules
    ]
    state.conversations.want("token", {token for _, token in tokens})
    state.ready()
    pairs = {
        (last.id, alert)
        for alert, token in tokens
        if alert and (last := state.conversations.one("token", token)) is not None
    }
    state.members.want("pair", pairs)
    state.ready()
