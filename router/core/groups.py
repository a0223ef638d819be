"""Alert groups: saved as a webhook shows them, and completed when Alertmanager shows the whole group."""

import json

from router.core.conversations import ONE_ENDED, close_empty, has_nothing_to_say, put_member
from router.core.rows import RESOLVED, UNKNOWN, GroupRow
from router.core.state import State
from router.core.unsent_ends import has_lane, sends_ends
from router.decide import Policy
from router.model import Millis, Webhook


def put_group(state: State, webhook: Webhook, source: str) -> int:
    """Save the group as the webhook shows it. Return its id."""
    labels = json.dumps(dict(webhook.group_labels))
    row = state.groups.one("key", (source, webhook.receiver, webhook.group_key))
    number = state.new_id() if row is None else row.id
    state.groups.put(
        GroupRow(
            number, source, webhook.receiver, webhook.group_key, labels, webhook.external_url,
            webhook.truncated,
        )
    )  # fmt: skip
    return number


def complete_group(state: State, group: int, policy: Policy, now: Millis) -> set[str]:
    """End the conversations that only hidden alerts kept open: Alertmanager now shows the whole group.

    The end of such a conversation is sent, also if an end was given up before. A conversation closes without a message
    if its destination gets no messages for ends, or is gone. Return the keys of the destinations to wake.
    """
    over = [
        row for row in state.conversations.of("open of group", group) if row.ended and has_nothing_to_say(row)
    ]
    kept_open = [
        row
        for row in over
        if has_lane(state, policy, row.destination) and sends_ends(state, policy, row.destination)
    ]
    close_empty(state, {row.id for row in over} - {row.id for row in kept_open})
    state.members.want("conversation", (row.id for row in kept_open if not row.is_large))
    for row in kept_open:
        if row.is_large:
            state.want_answer(ONE_ENDED, row.id)
    state.ready()
    large = {row.id: state.ask(ONE_ENDED, row.id) for row in kept_open if row.is_large}
    state.members.want("id", (each for several in large.values() for each in several))
    state.ready()
    woken: set[str] = set()
    for row in kept_open:
        # The message shows that all have ended, so one due member is enough to send it.
        some = [state.members[each] for each in large[row.id]] if row.id in large else None
        for member in state.members.of("conversation", row.id) if some is None else some:
            if member.notified == RESOLVED:
                put_member(state, member._replace(notified=UNKNOWN, at=now), member)
        woken.add(row.destination)
    return woken
