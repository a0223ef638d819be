"""Questions of the core that no loaded rows answer, by the name that :meth:`router.core.state.State.ask` takes."""

import sqlalchemy as sa

from router.core.conversations import FIRST_DUE, ONE_ENDED
from router.core.digests import FIRED_SINCE, MANY_REPORTED, OBSOLETE_IN
from router.core.release import MANY_MUTED
from router.core.state import State
from router.store.questions import (
    alert_questions,
    digest_questions,
    lane_questions,
    member_questions,
    storm_questions,
)
from router.store.questions.question import Question

QUESTIONS: dict[str, Question] = {
    "next due": lane_questions.next_due,
    "next time": lane_questions.next_time,
    "surge": storm_questions.surge,
    "due after": storm_questions.due_after,
    "standing": storm_questions.standing,
    OBSOLETE_IN: digest_questions.obsolete_in,
    FIRED_SINCE: digest_questions.fired_since,
    MANY_REPORTED: digest_questions.many_reported,
    "firing of": alert_questions.firing_of,
    "marked": alert_questions.marked,
    "unheard": alert_questions.unheard,
    "doubted": alert_questions.doubted,
    "lasting doubts": alert_questions.lasting_doubts,
    "still notified": alert_questions.still_notified,
    "next opening": member_questions.next_opening,
    FIRST_DUE: member_questions.first_due,
    MANY_MUTED: alert_questions.many_muted,
    "muted by": alert_questions.muted_by,
    ONE_ENDED: member_questions.one_ended,
    "members of": member_questions.members_of,
    "left open": member_questions.left_open,
}


def answer(connection: sa.Connection, state: State) -> None:
    """Answer all questions of the state, and note the answers in it."""
    asked, state.asked = state.asked, {}
    for question, keys in asked.items():
        for key, found in QUESTIONS[question](connection, keys).items():
            state.answers[question, key] = found
