"""Explains, for people and for programs, which destinations are notified of an alert, when, and why."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from router.config import load
from router.decide import Policy
from router.decide.explanation import Explanation, MatchResult, Muting, RouteHours, RouteStep, explain_alert
from router.decide.inhibition import Firing
from router.decide.policy import Outside
from router.model import Decision, DecisionKind, Labels, Millis, Status
from router.rules.inputs import (
    ALERT_KEYS,
    GivenAlert,
    alert_from,
    alerts_as_written,
    check_keys,
    given_alert,
    parse_alerts,
    parse_labels,
    printable,
)
from router.rules.moments import InputError, moment_text, parse_moment, rfc3339

if TYPE_CHECKING:  # the store takes longer to import than all the rest, and most explanations don't need it
    from router.store.snapshot import KnownAlert, Snapshot

# If more routes refuse the alert, the others are only counted.
_MAX_REFUSALS_SHOWN = 12
# The keys of an input line of --jsonl. Those that Alertmanager writes for an alert are allowed, too.
_LINE_KEYS = ALERT_KEYS | {"at", "firing"}
_SIGNS = {
    MatchResult.TAKES: "=>",
    MatchResult.PASSES_ON: "->",
    MatchResult.REFUSES: " x",
    MatchResult.NOT_ASKED: " .",
}


def explain_among(
    alert: GivenAlert, policy: Policy, now: Millis, others: Iterable[GivenAlert] = ()
) -> Explanation:
    """Explain what the service would decide about an alert while the others fire."""
    firing = Firing(policy.inhibition)
    for each in (*others, alert):
        if each.firing:
            firing.add(each.fingerprint, each.labels)
    return explain_alert(alert.labels, policy, now, firing.source)


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation as text for a terminal, and as JSON."""

    text: str
    json: dict[str, Any]


class Explainer:
    """Explains alerts by the rules of a file, at a moment, while other alerts fire."""

    def __init__(
        self, policy: Policy, zone: ZoneInfo, now: Millis, firing: Iterable[GivenAlert] = ()
    ) -> None:
        self._policy = policy
        self._zone = zone
        self._now = now
        self._firing = tuple(firing)

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
        alerts = parse_alerts(body, self._now)
        return [self._answer(each, *alerts) for each in alerts]

    def known(self, snapshot: "Snapshot", fingerprint: str) -> list[Explained]:
        """Explain an alert of the database while the others there fire. :raises InputError: the alert is not there"""
        if not snapshot.known:
            raise InputError(
                f"the database has no alert {fingerprint}; the pages and --json show fingerprints"
            )
        others = [given_alert(labels) for labels in snapshot.firing]
        return [self._known(each, others) for each in snapshot.known]

    def line(self, text: str) -> dict[str, Any]:
        """Explain a line of JSON: an object with ``labels``, optionally ``at`` and ``firing``; or just labels.

        If the line can't be used, the answer has only ``error`` and ``line``.
        """
        try:
            given = json.loads(text)
            alert = alert_from(given)
            more = given if isinstance(given.get("labels"), dict) else {}
            check_keys(more, _LINE_KEYS)
            at = self._now if more.get("at") is None else parse_moment(more["at"], self._zone)
            firing = () if more.get("firing") is None else alerts_as_written(more["firing"])
        except json.JSONDecodeError as error:
            what = f"it is not JSON: {error.msg[0].lower()}{error.msg[1:]} at character {error.pos + 1}"
            return {"error": what, "line": text.rstrip("\n")}
        except InputError as error:
            return {"error": str(error), "line": text.rstrip("\n")}
        except RecursionError:
            return {"error": "it is nested too deeply", "line": text.rstrip("\n")}
        explanation = explain_among(alert, self._policy, at, (*self._firing, *firing))
        return explanation_json(explanation, self._zone)

    def _answer(self, alert: GivenAlert, *others: GivenAlert) -> Explained:
        explanation = explain_among(alert, self._policy, self._now, (*self._firing, *others))
        text, as_data = explanation_text(explanation, self._zone), explanation_json(explanation, self._zone)
        if not alert.firing:
            text += "\n\nIt has ended: only destinations that were notified that it fires are notified of its end."
            as_data["ended"] = True
        return Explained(text, as_data)

    def _known(self, known: "KnownAlert", others: Iterable[GivenAlert]) -> Explained:
        alert = replace(given_alert(known.alert.labels), firing=known.alert.status is Status.FIRING)
        answer = self._answer(alert, *others)
        text = f"{answer.text}\n\n{notified_text(known.members, self._zone)}"
        notified = [
            {**each, "at": None if each["at"] is None else rfc3339(each["at"], self._zone)}
            for each in known.members
        ]
        return Explained(text, {**answer.json, "source": known.source, "so_far": notified})


def alert_text(labels: Labels) -> str:
    """Return an alert for people, like ``HighErrorRate{cluster="eu-1"}``."""
    rest = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "alertname")
    return printable(f"{labels.get('alertname', '')}{{{rest}}}")


def explanation_text(explanation: Explanation, zone: ZoneInfo) -> str:
    """Return an explanation for a terminal."""
    level = explanation.level if explanation.level_known else f"{explanation.level} (by default)"
    lines = [
        alert_text(explanation.labels),
        f"  at        {moment_text(explanation.now, zone)} {zone.key}",
        f"  severity  {level}",
        "",
        "Routes  (=> takes it, -> passes it on, x refuses it, . was not asked)",
        *_routes(explanation.steps),
    ]
    if explanation.hours:
        lines += ["", "Hours", *(_hours(each, zone) for each in explanation.hours)]
    if explanation.muting:
        lines += ["", "Inhibition", *(_muting(each) for each in explanation.muting)]
    lines += ["", "Decisions", *_decisions(explanation.decisions, zone)]
    return "\n".join(lines)


def _routes(steps: tuple[RouteStep, ...]) -> Iterator[str]:
    refused = 0
    for step in steps:
        if step.result in (MatchResult.REFUSES, MatchResult.NOT_ASKED):
            refused += 1
            if refused > _MAX_REFUSALS_SHOWN:
                continue
        note = {
            MatchResult.TAKES: f"receiver {step.route.receiver}",
            MatchResult.PASSES_ON: "",
            MatchResult.REFUSES: f"{step.condition}, and it is {step.found!r}"
            if step.found
            else f"{step.condition}, and it has none",
            MatchResult.NOT_ASKED: "an earlier one took it, without `continue`",
        }[step.result]
        yield f"  {'  ' * step.depth}{_SIGNS[step.result]} {step.route.path}" + (f"  {note}" if note else "")
    if refused > _MAX_REFUSALS_SHOWN:
        yield f"     … and {refused - _MAX_REFUSALS_SHOWN} more that refuse it or were not asked (--json has them all)"


def _hours(hours: RouteHours, zone: ZoneInfo) -> str:
    names = (
        ", ".join(each.name for each in (*hours.route.hours.active, *hours.route.hours.mute))
        if hours.route.hours
        else ""
    )
    if hours.changes_at is None:
        following = "and stays so"
    else:
        following = f"{'closes' if hours.open else 'opens'} {moment_text(hours.changes_at, zone)} {zone.key}"
    state = "open" if hours.open else f"closed ({hours.why}; outside: {_outside(hours)})"
    return f"  {hours.route.path}  {names}: {state}, {following}"


def _outside(hours: RouteHours) -> str:
    route = hours.route
    return f"digest {route.outside_digest}" if route.outside is Outside.DIGEST else str(route.outside)


def _muting(muting: Muting) -> str:
    source = ",".join(map(str, muting.rule.source))
    share = ", ".join(f"{name}={value!r}" for name, value in muting.equal.items())
    what = f"  {muting.rule.name}  a firing {{{source}}}" + (f" with {share}" if share else "")
    what += " that is not a target itself" if muting.two_sided else ""
    if muting.source is None:
        return f"{what} would mute it: none fires"
    return f"{what} mutes it: {alert_text(muting.source)}"


def _decisions(decisions: tuple[Decision, ...], zone: ZoneInfo) -> Iterator[str]:
    if not decisions:
        yield "  none: the receiver has no destinations"
    width = max((len(each.destination.key) for each in decisions), default=0)
    for each in decisions:
        at = (
            ""
            if each.at is None or each.kind is DecisionKind.SEND
            else f" until {moment_text(each.at, zone)}"
        )
        at = at.replace("until", "of") if each.kind is DecisionKind.DIGEST else at
        yield f"  {each.destination.key:{width}}  {each.kind}{at}  ({each.rule}: {each.reason})"


def explanation_json(explanation: Explanation, zone: ZoneInfo) -> dict[str, Any]:
    """Return an explanation for programs; times are RFC 3339."""

    def at(moment: Millis | None) -> str | None:
        return None if moment is None else rfc3339(moment, zone)

    return {
        "labels": dict(explanation.labels),
        "at": at(explanation.now),
        "severity": {"level": explanation.level, "by_default": not explanation.level_known},
        "receivers": [step.route.receiver for step in explanation.steps if step.result is MatchResult.TAKES],
        "routes": [
            {"path": step.route.path, "key": step.key, "receiver": step.route.receiver, "result": step.result,
             **({"refused_by": step.condition, "found": step.found} if step.refused_by is not None else {})}
            for step in explanation.steps
        ],
        "hours": [
            {"route": each.route.path, "open": each.open, "why": each.why, "outside": _outside(each),
             "closes" if each.open else "opens": at(each.changes_at)}
            for each in explanation.hours
        ],
        "inhibition": [
            {"rule": each.rule.name, "equal": dict(each.equal),
             "inhibited_by": None if each.source is None else dict(each.source)}
            for each in explanation.muting
        ],
        "decisions": [
            {"destination": each.destination.key, "decision": each.kind, "at": at(each.at), "rule": each.rule,
             "reason": each.reason}
            for each in explanation.decisions
        ],
    }  # fmt: skip


def notified_text(notified: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> str:
    """Return what each destination was notified of, for a terminal."""
    words = {
        "nothing": "not notified",
        "unknown": "unknown: an attempt is under way, or its answer was lost",
        "firing": "notified that it fires",
        "resolved": "notified of its end",
    }
    lines = ["Notified so far"]
    for row in notified:
        at = f", next {moment_text(row['at'], zone)}" if row["at"] is not None else ""
        why = f": {row['decision']}, {row['reason']}" if row["notified"] == "nothing" else ""
        lines.append(f"  {row['destination']}  {words[row['notified']]}{why}{at}")
    return "\n".join(lines)
