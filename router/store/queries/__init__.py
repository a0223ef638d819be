"""The queries that transitions need beside the rows of their keys, by the name that :meth:`router.core.state.State.ask` takes."""

import sqlalchemy as sa

from router.core.conversations import FIRST_DUE, ONE_ENDED
from router.core.digests import FIRED_SINCE, MANY_REPORTED, OBSOLETE_IN, UNREPORTED
from router.core.inhibited_alerts import INHIBITED_BY
from router.core.release import MANY_MUTED
from router.core.state import State
from router.core.upcoming import NEXT_DUE
from router.store.queries import (
    alert_queries,
    digest_queries,
    inhibited_queries,
    lane_queries,
    member_queries,
    storm_queries,
)
from router.store.queries.query import Query

QUERIES: dict[str, Query] = {
    NEXT_DUE: lane_queries.next_due,
    "next time": lane_queries.next_time,
    "surge": storm_queries.surge,
    "due after": storm_queries.due_after,
    "standing": storm_queries.standing,
    OBSOLETE_IN: digest_queries.obsolete_in,
    FIRED_SINCE: digest_queries.fired_since,
    MANY_REPORTED: digest_queries.many_reported,
    UNREPORTED: digest_queries.unreported,
    "firing of": alert_queries.firing_of,
    "marked": alert_queries.marked,
    "unheard": alert_queries.unheard,
    "doubted": alert_queries.doubted,
    "lasting doubts": alert_queries.lasting_doubts,
    "still notified": alert_queries.still_notified,
    "next opening": member_queries.next_opening,
    FIRST_DUE: member_queries.first_due,
    MANY_MUTED: alert_queries.many_muted,
    "muted by": alert_queries.alerts_muted_by,
    INHIBITED_BY: inhibited_queries.inhibited_by,
    ONE_ENDED: member_queries.one_ended,
    "members of": member_queries.members_of,
    "left open": member_queries.left_open,
}

CORRECTED = frozenset({NEXT_DUE})
"""Queries that need not see what the batch has changed, because who asks corrects the answer. For others, the changes of jobs that
ran before are saved first.
"""


def run_queries(connection: sa.Connection, state: State) -> None:
    """Run the queries that the state asks for, and keep their answers in it."""
    asked, state.asked = state.asked, {}
    for query, keys in asked.items():
        for key, found in QUERIES[query](connection, keys).items():
            state.answers[query, key] = found
