"""The variables of a template about an alert group. Every string in them is escaped for the channel already."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from router.model import Alert, Conversation, Labels, Millis, ShownAlert, Status
from router.render.annotations import annotations_of, description_of, notes_of, summary_of, whole_description
from router.render.formatter import EMOJI, Formatter, common
from router.render.identities import identity_text, labels_apart
from router.render.links import (
    Links,
    links_of,
    silence_of,
)
from router.render.titles import Title, title_of
from router.render.words import duration, moment, web_address, when

_MAX_NEWS = 10
"""Alerts of each kind that the news name; the others are counted."""


@dataclass(frozen=True, slots=True)
class AlertView:
    name: str
    status: str
    level: str
    rank: int
    """0 for the most urgent level."""
    emoji: str
    """A circle in the colour of its level, or a check mark if it is resolved."""
    news: bool
    """This message is about its status: it is the first one with this status, or a repeat."""
    labels: Labels
    annotations: Labels
    title: str
    """Its level if the levels differ, and its name if the names differ or nothing else tells it apart; may be empty."""
    differing: Labels
    """The labels that not all alerts of the message share."""
    apart: Labels
    """The same without the name and the severity, which ``title`` stands for."""
    brief: str
    """What tells it apart from the other alerts in few words, like ``db-1/replica``; its name if nothing does."""
    summary: str
    description: str
    notes: Labels
    """Its other annotations. Summary, description and notes are empty where those of the message say the same."""
    started: datetime | None
    ended: datetime | None
    lasted: str
    """In words, the time from its start to its end or to now; empty if the start is unknown."""
    held_since: datetime | None
    links: Links
    own_links: tuple[tuple[str, str], ...]
    """Name and address of the links that the message itself does not have; a silence only if its sender gave it."""
    note: str
    """Why it counts as ended although no resolved alert came; otherwise empty."""
    again: bool
    """It is a repeat: an earlier message had it in the same status."""
    now: datetime = field(repr=False)

    @property
    def timing(self) -> str:
        """Since when it fires and for how long, or after how long it ended; and why, if no resolved alert came."""
        if self.status == Status.RESOLVED:
            after = f"after {self.lasted}" if self.lasted else ""
            at = f"at {when(self.ended, self.now)}" if self.ended is not None else ""
            return " · ".join(filter(None, [", ".join(filter(None, [after, at])), self.note]))
        since = f"since {when(self.started, self.now)}" if self.started is not None else ""
        return f"{since} ({self.lasted})" if since and self.lasted else since


def group_values(conversation: Conversation, formatter: Formatter) -> dict[str, Any]:
    """Return the variables for the conversation of an alert group; see docs/templates.md."""
    listed, over = conversation.listed, conversation.over
    shared = common([each.alert.labels for each in listed])
    annotations = common([annotations_of(each.alert) for each in listed])
    links = _links(conversation, formatter)
    view = _AlertViews(conversation, formatter, shared, annotations, links)
    alerts = sorted(map(view, listed), key=_urgency)
    firing = [alert for alert in alerts if alert.status == Status.FIRING]
    resolved = [alert for alert in alerts if alert.status == Status.RESOLVED]
    rank = min((alert.rank for alert in firing or resolved), default=0)
    title = _title(conversation, formatter)
    scope = where(conversation.group_labels, title.labels, conversation.source)
    level, emoji = formatter.levels[rank], EMOJI[formatter.color(rank, over=over)]
    values = {
        "title": formatter.line(title.text),
        "scope": formatter.line(scope),
        "about": formatter.line(title.with_scope(scope)),
        "source": formatter.line(conversation.source),
        "status": "resolved" if over else "firing",
        "level": formatter.text(level),
        "rank": rank,
        "color": formatter.color(rank, over=over),
        "emoji": emoji,
        "lasted": _lasted(listed) if over else "",
        "alerts": alerts,
        "firing": firing,
        "resolved": resolved,
        "resolved_count": conversation.ended,
        "unlisted": conversation.ended - len(resolved),
        "new_firing": [alert for alert in firing if alert.news],
        "new_resolved": [alert for alert in resolved if alert.news],
        "first": not conversation.remote,
        "common_labels": formatter.labels(shared),
        "common_annotations": formatter.labels(annotations),
        "group_labels": formatter.labels(conversation.group_labels),
        "other_labels": formatter.labels(_other(shared, conversation, formatter, level)),
        "summary": formatter.text(summary_of(annotations)),
        "description": formatter.text(description_of(annotations)),
        "notes": formatter.notes(notes_of(annotations)),
        "truncated": conversation.truncated,
        "external_url": formatter.address(conversation.external_url),
        "sender": "Grafana" if any(each.alert.links for each in listed) else "Alertmanager",
        # Alertmanager quotes the name as a regular expression: team\.web
        "receiver": formatter.text(re.sub(r"\\(.)", r"\1", conversation.receiver)),
        "links": links,
        "held_since": min((alert.held_since for alert in alerts if alert.held_since), default=None),
        "now": moment(conversation.now, formatter.zone),
        "zone": formatter.zone.key,
    }
    return {**values, "headline": _headline(values), "counts": _counts(values), "footer": _footer(values),
            "news": _news(values)}  # fmt: skip


def where(group: Labels, hidden: frozenset[str], source: str = "") -> str:
    """Return the group labels that say where, and the source, if one is named: ``cluster=eu-1, from eu-prod``.

    :param hidden: names of labels that are left out
    """
    named = {name: value for name, value in group.items() if name not in hidden | {"alertname"} and value}
    texts = [f"{name}={value}" for name, value in sorted(named.items())]
    return ", ".join([*texts, *([f"from {source}"] if source else [])])


class _AlertViews:
    """Makes the view of each alert of a conversation."""

    def __init__(
        self, conversation: Conversation, formatter: Formatter, shared: Labels, annotations: Labels, links: Links
    ) -> None:  # fmt: skip
        """
        :param shared: the labels that all alerts have in common
        :param annotations: their annotations in common
        :param links: those of the message
        """
        self._conversation, self._formatter, self._shared = conversation, formatter, shared
        self._summary, self._description = summary_of(annotations), description_of(annotations)
        self._whole_description = whole_description(annotations)
        self._annotations, self._links = annotations, set(links)
        listed = conversation.listed
        self._levels_differ = len({each.level for each in listed}) > 1
        self._hidden = frozenset({"alertname", formatter.severity_label})
        named: dict[str, list[Labels]] = {}
        for each in listed:
            named.setdefault(each.alert.labels.get("alertname", ""), []).append(each.alert.labels)
        self._names_differ = len(named) > 1
        self._labels_apart = {name: labels_apart(several, self._hidden) for name, several in named.items()}
        self._now = moment(conversation.now, formatter.zone)

    def __call__(self, shown: ShownAlert) -> AlertView:
        alert, formatter = shown.alert, self._formatter
        is_over = alert.status is Status.RESOLVED
        until = alert.ends_at if is_over and alert.ends_at is not None else self._conversation.now
        annotations = annotations_of(alert)
        summary, description = summary_of(annotations), description_of(annotations)
        # Without a common summary, the message shows the first line of a common description as its summary.
        is_repeated = (
            description == self._description or whole_description(annotations) == self._whole_description
        )
        notes = {
            name: value
            for name, value in notes_of(annotations).items()
            if self._annotations.get(name) != value
        }
        silence = alert.links.get("silence", "")
        if is_over:
            words_and_address = ("", "")
        elif web_address(silence):
            words_and_address = ("Silence", silence)
        else:
            words_and_address = silence_of(self._conversation.external_url, [alert.labels])
        differing = {name: value for name, value in alert.labels.items() if self._shared.get(name) != value}
        apart = {name: value for name, value in differing.items() if name not in self._hidden}
        name = alert.labels.get("alertname", "") or "Unnamed alert"
        names = self._labels_apart[alert.labels.get("alertname", "")]
        identity = identity_text(alert.labels, names) if apart else ""
        titles = [shown.level] if self._levels_differ else []
        titles += [name] if self._names_differ or not apart else []
        rank, links = formatter.rank(shown.level), links_of(alert, formatter, words_and_address)
        return AlertView(
            name=formatter.line(name),
            status=alert.status.value,
            level=formatter.text(shown.level),
            rank=rank,
            emoji=EMOJI[formatter.color(rank, over=is_over)],
            news=shown.news,
            labels=formatter.labels(alert.labels),
            annotations=formatter.labels(annotations),
            title=formatter.line(" ".join(titles)),
            brief=formatter.line(" ".join(filter(None, [*titles, identity])) or name),
            differing=formatter.labels(differing),
            apart=formatter.labels(apart),
            summary=formatter.text(summary) if summary != self._summary else "",
            description="" if is_repeated else formatter.text(description),
            notes=formatter.notes(notes),
            started=formatter.at(alert.starts_at),
            ended=formatter.at(alert.ends_at),
            lasted="" if alert.starts_at is None else duration(until - alert.starts_at),
            held_since=formatter.at(shown.held_since),
            links=links,
            own_links=tuple(
                each
                for each in (links if _own_silence(alert) and not is_over else replace(links, silence=""))
                if each not in self._links
            ),
            note=formatter.text(alert.note) if is_over else "",
            again=shown.again,
            now=self._now,
        )


def _title(conversation: Conversation, formatter: Formatter) -> Title:
    return title_of(
        conversation.listed, conversation.group_labels, formatter.levels, formatter.rank,
        frozenset({formatter.severity_label}), ended=conversation.ended, inhibited=conversation.inhibited,
        truncated=conversation.truncated,
    )  # fmt: skip


def _links(conversation: Conversation, formatter: Formatter) -> Links:
    """Return the links of the most urgent alert, which the title names, and a silence of all that fire."""
    several = conversation.firing or conversation.listed
    if not several:
        return Links()
    lead = min(several, key=lambda each: (formatter.rank(each.level), each.alert.starts_at or 0))
    firing = [each.alert.labels for each in conversation.firing]
    if any(map(_own_silence, (each.alert for each in conversation.firing))):
        # Grafana gives each alert a silence of its own; the address of a silence of several is Alertmanager's only.
        own = _own_silence(lead.alert) if len(firing) == 1 else ""
        return links_of(lead.alert, formatter, ("Silence", own))
    return links_of(
        lead.alert, formatter, silence_of(conversation.external_url, firing) if firing else ("", "")
    )


def _own_silence(alert: Alert) -> str:
    return web_address(alert.links.get("silence", ""))


def _lasted(alerts: Sequence[ShownAlert]) -> str:
    """Return in words how long it took from the first start to the last end; empty if a time is unknown."""
    starts = [each.alert.starts_at for each in alerts if each.alert.starts_at is not None]
    ends: list[Millis] = [each.alert.ends_at for each in alerts if each.alert.ends_at is not None]
    return duration(max(ends) - min(starts)) if starts and ends else ""


def _other(shared: Labels, conversation: Conversation, formatter: Formatter, level: str) -> Labels:
    """Return the labels that all alerts share, without those that title, scope and level show."""
    said = {**conversation.group_labels, formatter.severity_label: level}
    return {name: value for name, value in shared.items() if name != "alertname" and said.get(name) != value}


def _headline(values: dict[str, Any]) -> str:
    """Return one line that says everything: what fires, how bad, where."""
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    after = f" after {values['lasted']}" if values["lasted"] else ""
    return f"{values['emoji']} {state}: {values['about']}{after}"


def _counts(values: dict[str, Any]) -> str:
    firing, resolved = len(values["firing"]), values["resolved_count"]
    unlisted = f" ({values['unlisted']} of them not listed)" if values["unlisted"] else ""
    counts = [f"{firing} firing" if firing else "", f"{resolved} resolved{unlisted}" if resolved else ""]
    return " · ".join(filter(None, counts))


def _footer(values: dict[str, Any]) -> str:
    now, truncated = values["now"], values["truncated"]
    parts = [
        f"via {values['receiver']}" if values["receiver"] else "",
        f"{when(now, now)} {values['zone']}",
        f"held since {when(values['held_since'], now)}" if values["held_since"] else "",
        f"{truncated} more alert{'s' * (truncated > 1)} not shown by Alertmanager (max_alerts)"
        if truncated
        else "",
    ]
    return " · ".join(filter(None, parts))


def _news(values: dict[str, Any]) -> list[str]:
    """Return what is new since the last message, line by line."""
    resolved: list[AlertView] = values["new_resolved"]
    if values["status"] == "resolved":
        reasons = "".join(f" ({note})" for note in dict.fromkeys(each.note for each in resolved) if note)
        count, lasted = values["resolved_count"], resolved[0].lasted if resolved else ""
        what = f": {count} alerts" if count > 1 else f" after {lasted}" if lasted else ""
        return [f"{EMOJI['green']} All resolved{what}{reasons}"]
    firing: list[AlertView] = values["new_firing"]
    lines = [
        f"{each.emoji} {'still firing' if each.again else 'new'}: {each.brief}" for each in firing[:_MAX_NEWS]
    ]
    lines += [f"… and {len(firing) - _MAX_NEWS} more new"] * (len(firing) > _MAX_NEWS)
    for each in resolved[:_MAX_NEWS]:
        after = f" after {each.lasted}" if each.lasted else ""
        lines.append(f"{each.emoji} resolved: {each.brief}{after}{f' ({each.note})' if each.note else ''}")
    return lines + [f"… and {len(resolved) - _MAX_NEWS} more resolved"] * (len(resolved) > _MAX_NEWS)


def _urgency(alert: AlertView) -> tuple[bool, int, bool, float]:
    return (
        alert.status != Status.FIRING,
        alert.rank,
        alert.started is None,
        alert.started.timestamp() if alert.started else 0.0,
    )
