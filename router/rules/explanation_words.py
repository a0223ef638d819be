"""Writes explanations for a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from router.decide import Heartbeat
from router.decide.explanation import Explanation, MatchResult, Muting, RouteHours, RouteStep
from router.decide.policy import Outside
from router.model import Decision, DecisionKind, Labels
from router.rules.inputs import printable
from router.rules.moments import moment_text

# If more routes refuse the alert, the others are only counted.
_MAX_REFUSALS_SHOWN = 12
_SIGNS = {
    MatchResult.TAKES: "=>",
    MatchResult.PASSES_ON: "->",
    MatchResult.REFUSES: " x",
    MatchResult.NOT_ASKED: " .",
}


def alert_text(labels: Labels) -> str:
    """Return an alert for people, like ``HighErrorRate{cluster="eu-1"}``."""
    rest = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "alertname")
    return printable(f"{labels.get('alertname', '')}{{{rest}}}")


def explanation_text(explanation: Explanation, zone: ZoneInfo, positions: Mapping[str, str]) -> str:
    """Return an explanation for a terminal. :param positions: ``file:line`` of each rule"""
    level = explanation.level if explanation.level_known else f"{explanation.level} (by default)"
    lines = [
        alert_text(explanation.labels),
        f"  at        {moment_text(explanation.now, zone)} {zone.key}",
        f"  severity  {level}",
        "",
    ]
    if (heartbeat := explanation.heartbeat) is not None:
        return "\n".join([*lines, "Heartbeat", _heartbeat(heartbeat, positions), "", "Decisions", "  none"])
    lines += [
        "Routes  (=> takes it, -> passes it on, x refuses it, . was not asked)",
        *_routes(explanation.steps),
    ]
    if explanation.hours:
        lines += ["", "Hours", *(_hours(each, zone) for each in explanation.hours)]
    if explanation.muting:
        lines += ["", "Inhibition", *(_muting(each) for each in explanation.muting)]
    lines += ["", "Decisions", *_decisions(explanation.decisions, zone, positions)]
    return "\n".join(lines)


def _heartbeat(heartbeat: Heartbeat, positions: Mapping[str, str]) -> str:
    rule = ", ".join(filter(None, (heartbeat.rule, positions.get(heartbeat.rule))))
    sender = "" if heartbeat.source is None else f"; from the source {heartbeat.source} only"
    return f"  {rule}: {heartbeat.reason}{sender}"


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
    state = "open" if hours.open else f"closed ({hours.why}; outside: {outside_text(hours)})"
    return f"  {hours.route.path}  {names}: {state}, {following}"


def outside_text(hours: RouteHours) -> str:
    """Return what a route does outside its hours: ``hold``, ``digest daily``, …"""
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


def _decisions(
    decisions: tuple[Decision, ...], zone: ZoneInfo, positions: Mapping[str, str]
) -> Iterator[str]:
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
        rule = ", ".join(filter(None, (each.rule, positions.get(each.rule))))
        yield f"  {each.destination.key:{width}}  {each.kind}{at}  ({rule}: {each.reason})"


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
