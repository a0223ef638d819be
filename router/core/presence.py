"""Presence: what the answers of Alertmanager change about alerts that count as firing or as ended.

Alertmanager sends no resolve for an alert that was muted, silenced or inhibited after it fired, or that it forgot at a
restart: https://github.com/prometheus/alertmanager/issues/226. A peer that is cut off from Prometheus resolves alerts
that still fire, and it can take hours until the other peers send them again.

Each function takes some alerts, and is called again for the next ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from router.core.accept import Receipt, merged
from router.core.alerts import alert_of, firing_rows, peers_of
from router.core.conclusions import BACK, GONE, accept_concluded, end_alerts
from router.core.conversations import DATABASE_ID
from router.core.doubts import settle_doubt
from router.core.judging import ABSENT, rejudge, want_rejudged
from router.core.reduce import PEER_LAG
from router.core.rows import RESOLVED, AlertRow
from router.core.state import State
from router.core.uptime import SINCE, counting_since
from router.decide import Policy
from router.model import MINUTE, SECOND, Millis, Status

# A webhook and an answer may overtake each other. An Alertmanager that has just restarted knows no alert before the
# next evaluation of Prometheus.
ABSENCE_GRACE: Millis = MINUTE
# The error of a peer's clock: the Date header of its answer has whole seconds.
_PEER_CLOCK_ERROR: Millis = SECOND


@dataclass(frozen=True, slots=True)
class Reported:
    """An alert that Alertmanager lists, merged from the peers that answered."""

    starts_at: Millis
    withheld: str | None = None
    """Why no peer sends notifications of it (silenced, inhibited or muted); None: a peer sends them."""
    peers: frozenset[str] = frozenset()
    """The peers that list it."""
    updated_at: Millis | None = None
    """When Prometheus last sent it to a peer that notifies (epoch ms, our clock); None: unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of Alertmanager: the alerts of a source that it lists."""

    source: str
    asked_at: Millis
    alerts: Mapping[str, Reported]
    """By identity: all alerts that have not ended."""
    confirm: Millis
    """How long an alert has to be absent before it counts as gone (ms)."""
    peers: frozenset[str] = frozenset()
    """The peers that answered."""


def want_marked(state: State, policy: Policy, ids: Iterable[int], now: Millis) -> None:
    """Request the rows that checking these alerts may need. :raises MissingRows: some are not loaded yet"""
    ids = list(ids)
    state.meta.want("id", (SINCE, DATABASE_ID))
    want_rejudged(state, policy, ids, now)


def confirm(state: State, answer: Answer, ids: Sequence[int], policy: Policy, now: Millis) -> Receipt:
    """End alerts that Alertmanager no longer lists, and mark those that it would not notify of.

    :param ids: of firing alerts of the answer's source
    """
    gone: list[AlertRow] = []
    wake: set[str] = set()
    counting = counting_since(state)
    for row in firing_rows(state, ids):
        if row.seen_at >= answer.asked_at:
            continue  # it was reported after the request
        reported = answer.alerts.get(row.identity)
        listed_by = peers_of(row)
        if reported is not None:
            wake |= _mark(state, row, reported.withheld, None, policy, now, listed_by | reported.peers)
        elif (
            not listed_by & answer.peers
        ):  # no peer that answered has ever listed it, so it cannot be missing
            wake |= _mark(state, row, None, None, policy, now)
        elif row.absent_at is None:
            if answer.asked_at - row.seen_at >= ABSENCE_GRACE:
                wake |= _mark(state, row, ABSENT, answer.asked_at, policy, now)
        elif answer.asked_at - max(row.absent_at, counting) >= answer.confirm:
            gone.append(row)
    ended = end_alerts(state, gone, GONE, policy, now)
    return merged(Receipt((), (), frozenset(wake)), ended)


def reopen(state: State, answer: Answer, identities: Sequence[str], policy: Policy, now: Millis) -> Receipt:
    """Reopen alerts that Alertmanager lists as firing, but that count as ended for any reason.

    Alertmanager possibly does not send them before its next repeat.

    :param identities: of alerts of the answer's source
    """
    state.alerts.want("identity", ((answer.source, each) for each in identities))
    state.ready()
    back = [
        (row, answer.alerts[identity].starts_at)
        for identity in identities
        if (row := state.alerts.one("identity", (answer.source, identity))) is not None
        and row.status == RESOLVED
        and _fires(row, answer.alerts[identity], answer.asked_at)
    ]
    fired = [
        (
            row.source,
            row.group_id,
            replace(alert_of(row), status=Status.FIRING, starts_at=starts_at, ends_at=None, note=""),
        )
        for row, starts_at in back
    ]
    return accept_concluded(state, fired, "", BACK, policy, now)


def settle_by_answer(
    state: State, answer: Answer, ids: Sequence[int], policy: Policy, now: Millis
) -> Receipt:
    """Settle doubts by an answer. An alert that a peer lists is firing; one that a peer no longer lists has ended.

    :param ids: of alerts of the answer's source that are in doubt
    """
    back: list[AlertRow] = []
    for id_ in ids:
        row = state.alerts.get(id_)
        if row is None or row.doubt_until is None or row.seen_at >= answer.asked_at:
            continue  # it was reported after the request
        reported = answer.alerts.get(row.identity)
        if reported is not None and reported.withheld is None and _is_newer(reported, row.changed_at):
            back.append(row)
        elif reported is None and peers_of(row) & answer.peers:
            state.alerts.put(row._replace(doubt_until=None, doubt=None, claimed_firing_at=None))
    return merged(*state.run_all(partial(settle_doubt, state, row, BACK, policy, now) for row in back))


def _fires(row: AlertRow, reported: Reported, asked_at: Millis) -> bool:
    """Return whether an answer shows that an alert fires, although it counts as ended."""
    if reported.withheld is not None:
        return False
    if row.note:
        return True  # no sender reported its end
    ended_at = row.changed_at
    if max(ended_at, row.seen_at) >= asked_at:
        return False  # its end may have been on its way to the peer
    if row.ends_at is not None and reported.starts_at > row.ends_at:
        # It is another firing, which Alertmanager is about to send itself.
        ended_at = max(ended_at, reported.starts_at)
    elif reported.updated_at is not None and _is_newer(reported, ended_at):
        return True
    # After this time, a peer that lags knows the end, too.
    return asked_at - ended_at >= PEER_LAG


def _is_newer(reported: Reported, ended_at: Millis) -> bool:
    """Return whether Prometheus may have sent the alert to a peer after its end."""
    return reported.updated_at is None or reported.updated_at > ended_at + _PEER_CLOCK_ERROR


def forget_answers(
    state: State, trusted: frozenset[str], ids: Sequence[int], policy: Policy, now: Millis
) -> frozenset[str]:
    """Forget old answers about alerts of sources that are not trusted: notifying twice is better than never.

    Return the keys of destinations that may have something to send.
    """
    woken: set[str] = set()
    for row in firing_rows(state, ids):
        if row.source not in trusted:
            woken |= _mark(state, row, None, None, policy, now)
    return frozenset(woken)


def _mark(
    state: State,
    row: AlertRow,
    withheld: str | None,
    absent_at: Millis | None,
    policy: Policy,
    now: Millis,
    listed_by: frozenset[str] | None = None,
) -> frozenset[str]:
    """Save what Alertmanager says about an alert. Members that were not notified are judged by it.

    :param listed_by: the peers that list it; None: the same as before
    """
    listed = row.listed_by if listed_by is None else "\n".join(sorted(listed_by))
    state.alerts.put(row._replace(withheld=withheld, absent_at=absent_at, listed_by=listed))
    return frozenset() if row.withheld == withheld else rejudge(state, policy, row.id, now)
