"""Explains, for people and for programs, which destinations are notified of an alert, when, and why."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from router.config import load
from router.decide import FindSource, Policy, nothing_fires
from router.decide.explanation import Explanation, MatchResult, explain_alert
from router.decide.inhibition import Firing, Key
from router.model import Labels, Millis, Status
from router.rules.explanation_words import explanation_text, notified_text, outside_text
from router.rules.inputs import (
    ALERT_KEYS,
    GivenAlert,
    alert_from,
    alerts_as_written,
    check_keys,
    given_alert,
    parse_alerts,
    parse_labels,
)
from router.rules.moments import InputError, parse_moment, rfc3339

if TYPE_CHECKING:  # the store takes longer to import than all the rest, and most explanations don't need it
    from router.store.snapshot import KnownAlert, Snapshot

NO_POSITIONS: Mapping[str, str] = {}
# The keys of an input line of --jsonl. Those that Alertmanager writes for an alert are allowed, too.
_LINE_KEYS = ALERT_KEYS | {"at", "firing"}


def explain_among(
    alert: GivenAlert, policy: Policy, now: Millis, others: Iterable[GivenAlert] = (), stored: FindSource = nothing_fires,
    sender: str | None = None,
) -> Explanation:  # fmt: skip
    """Explain what the service would decide about an alert while the others fire.

    :param stored: finds a source among alerts that fire in addition to the others
    :param sender: the source that reports the alert; None: any
    """
    firing = Firing(policy.inhibition)
    for each in (*others, alert):
        if each.firing:
            firing.add(each.fingerprint, each.labels)

    def source(key: Key) -> Labels | None:
        found = firing.source(key)
        return stored(key) if found is None else found

    return explain_alert(alert.labels, policy, now, source, sender)


@dataclass(frozen=True, slots=True)
class GivenLine:
    """A line of JSON with an alert to explain."""

    alert: GivenAlert
    at: str | None
    """The time as it is written; None: now."""
    moment: Millis | None
    """The same time."""
    firing: tuple[GivenAlert, ...]
    """What else fires."""


def parse_line(text: str, zone: ZoneInfo) -> GivenLine:
    """Read a line of JSON: an object with ``labels``, optionally ``at`` and ``firing``; or just labels.

    :param zone: of times that name none
    :raises InputError: it can't be used
    """
    try:
        given = json.loads(text)
        alert = alert_from(given)
        more = given if isinstance(given.get("labels"), dict) else {}
        check_keys(more, _LINE_KEYS)
        at = more.get("at")
        moment = None if at is None else parse_moment(at, zone)
        firing = () if more.get("firing") is None else tuple(alerts_as_written(more["firing"]))
    except json.JSONDecodeError as error:
        what = f"it is not JSON: {error.msg[0].lower()}{error.msg[1:]} at character {error.pos + 1}"
        raise InputError(what) from None
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    return GivenLine(alert, at, moment, firing)


def line_error(error: Exception, text: str) -> dict[str, Any]:
    """Return the answer to a line that can't be used."""
    return {"error": str(error), "line": text.rstrip("\n")}


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation as text for a terminal, and as JSON."""

    text: str
    json: dict[str, Any]


class Explainer:
    """Explains alerts by rules, at a moment, while other alerts fire."""

    def __init__(
        self, policy: Policy, zone: ZoneInfo, now: Millis, firing: Iterable[GivenAlert] = (),
        stored: FindSource = nothing_fires,
    ) -> None:  # fmt: skip
        """:param stored: finds a source among alerts that fire in addition to ``firing``"""
        self._policy = policy
        self._zone = zone
        self._now = now
        self._firing = tuple(firing)
        self._stored = stored

    @classmethod
    def of(
        cls,
        path: Path,
        environ: Mapping[str, str],
        now: Millis,
        at: str | None = None,
        firing: bytes | None = None,
    ) -> "Explainer":
        """Return an explainer for the rules of a file.

        :param at: the moment, as people write it; None: now
        :param firing: a file of other alerts that fire; None: there are none
        :raises ConfigError: with every mistake in the file
        :raises InputError: the moment or the file of firing alerts can't be read
        """
        config = load(path, environ=environ, now=now, preview=True)
        zone = ZoneInfo(config.timezone)
        others = [each for each in parse_alerts(firing, now) if each.firing] if firing is not None else []
        return cls(config.policy, zone, now if at is None else parse_moment(at, zone), others)

    def labels(self, words: Iterable[str]) -> Explained:
        """Explain an alert by words like ``name=value``. :raises InputError: a word is not a label"""
        return self._answer(given_alert(parse_labels(words)))

    def webhook(self, body: bytes) -> list[Explained]:
        """Explain each alert of a webhook's body; they fire together. :raises InputError: the body can't be read"""
        return list(self.together(parse_alerts(body, self._now)))

    def together(self, alerts: Sequence[GivenAlert]) -> Iterator[Explained]:
        """Explain alerts that fire together, one after the other."""
        return (self._answer(each, *alerts) for each in alerts)

    def known(self, snapshot: "Snapshot", fingerprint: str) -> list[Explained]:
        """Explain an alert of the database while the others there fire. :raises InputError: the alert is not there"""
        if not snapshot.known:
            raise InputError(
                f"the database has no alert {fingerprint}; the pages and --json show fingerprints"
            )
        return list(self.stored(snapshot.known, [given_alert(labels) for labels in snapshot.firing]))

    def stored(self, known: Iterable["KnownAlert"], others: Sequence[GivenAlert] = ()) -> Iterator[Explained]:
        """Explain alerts of the store, with what their destinations were notified of."""
        return (self._known(each, others) for each in known)

    def line(self, text: str) -> dict[str, Any]:
        """Explain a line of JSON: an object with ``labels``, optionally ``at`` and ``firing``; or just labels.

        If the line can't be used, the answer has only ``error`` and ``line``.
        """
        try:
            given = parse_line(text, self._zone)
        except InputError as error:
            return line_error(error, text)
        at = self._now if given.moment is None else given.moment
        firing = (*self._firing, *given.firing)
        explanation = explain_among(given.alert, self._policy, at, firing, self._stored)
        return explanation_json(explanation, self._zone, self._positions)

    @property
    def _positions(self) -> Mapping[str, str]:
        return self._policy.configuration.positions

    def _answer(self, alert: GivenAlert, *others: GivenAlert, sender: str | None = None) -> Explained:
        others = (*self._firing, *others)
        explanation = explain_among(alert, self._policy, self._now, others, self._stored, sender)
        text = explanation_text(explanation, self._zone, self._positions)
        as_data = explanation_json(explanation, self._zone, self._positions)
        if not alert.firing:
            text += "\n\nIt has ended: only destinations that were notified that it fires are notified of its end."
            as_data["ended"] = True
        return Explained(text, as_data)

    def _known(self, known: "KnownAlert", others: Iterable[GivenAlert]) -> Explained:
        alert = replace(given_alert(known.alert.labels), firing=known.alert.status is Status.FIRING)
        answer = self._answer(alert, *others, sender=known.source)
        text = f"{answer.text}\n\n{notified_text(known.members, self._zone)}"
        notified = [
            {**each, "at": None if each["at"] is None else rfc3339(each["at"], self._zone)}
            for each in known.members
        ]
        return Explained(text, {**answer.json, "source": known.source, "so_far": notified})


def explanation_json(
    explanation: Explanation, zone: ZoneInfo, positions: Mapping[str, str] = NO_POSITIONS
) -> dict[str, Any]:
    """Return an explanation for programs; times are RFC 3339. Every explanation has the same keys.

    :param positions: ``file:line`` of each rule
    """

    def at(moment: Millis | None) -> str | None:
        return None if moment is None else rfc3339(moment, zone)

    heartbeat = explanation.heartbeat
    return {
        "labels": dict(explanation.labels),
        "at": at(explanation.now),
        "severity": {"level": explanation.level, "by_default": not explanation.level_known},
        "receivers": [step.route.receiver for step in explanation.steps if step.result is MatchResult.TAKES],
        "routes": [
            {"path": step.route.path, "key": step.key, "position": positions.get(step.route.path),
             "receiver": step.route.receiver, "result": str(step.result), "refused_by": step.condition or None,
             "found": None if step.refused_by is None else step.found}
            for step in explanation.steps
        ],
        "hours": [
            {"route": each.route.path, "open": each.open, "why": each.why, "outside": outside_text(each),
             "opens": None if each.open else at(each.changes_at),
             "closes": at(each.changes_at) if each.open else None}
            for each in explanation.hours
        ],
        "inhibition": [
            {"rule": each.rule.name, "equal": dict(each.equal),
             "inhibited_by": None if each.source is None else dict(each.source)}
            for each in explanation.muting
        ],
        "decisions": [
            {"destination": each.destination.key, "decision": str(each.kind), "at": at(each.at), "rule": each.rule,
             "position": positions.get(each.rule), "reason": each.reason}
            for each in explanation.decisions
        ],
        "heartbeat": None if heartbeat is None else {
            "name": heartbeat.name, "rule": heartbeat.rule, "position": positions.get(heartbeat.rule),
            "source": heartbeat.source,
        },
        "ended": False,
        "source": None,
        "so_far": None,
    }  # fmt: skip
