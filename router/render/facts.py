"""The words of a message whose template fails: the plain facts, complete and without markup."""

from collections.abc import Mapping
from typing import Any

from router.render.view import AlertView


def plain_facts(block: str, values: Mapping[str, Any]) -> str:
    """Return the words of a block of a template; an empty text for a block that adds nothing to the others.

    :param values: the variables of the template, see docs/templates.md
    """
    if "groups" in values:
        return _of_storm(values).get(block, "")
    if "sections" in values:
        return _of_digest(values).get(block, "")
    return alert_facts(values["alert"]) if block == "alert" else _of_conversation(values).get(block, "")


def alert_facts(alert: AlertView) -> str:
    """Return the status, the labels and the annotations of an alert."""
    labels = ", ".join(map("=".join, alert.labels.items()))
    notes = [f"{name}: {note}" for name, note in alert.annotations.items()]
    return "\n".join([f"{alert.status}: {labels}", *notes])


def _of_conversation(values: Mapping[str, Any]) -> dict[str, str]:
    is_over, title = values["status"] == "resolved", values["title"]
    headline = f"{'Resolved' if is_over else values['level'].upper()}: {title}"
    counts = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
    subject = f"[RESOLVED] {title}" if is_over else f"[FIRING:{len(values['firing'])}] {title}"
    left_out = [
        f"{count} {what}"
        for count, what in (
            (values["unlisted"], "more that were resolved are not listed"),
            (values["truncated"], "more not shown by Alertmanager (max_alerts)"),
        )
        if count
    ]
    body = [
        title,
        *("\n" + alert_facts(each) for each in values["alerts"]),
        *("\n" + each for each in left_out),
    ]
    return {
        "title": headline, "text": f"{headline} ({counts})", "news": f"{headline} ({counts})", "subject": subject,
        "summary": counts, "footer": "; ".join(left_out), "body": "\n".join(body),
    }  # fmt: skip


def _of_storm(values: Mapping[str, Any]) -> dict[str, str]:
    counts = f"{values['groups']} groups firing, {values['resolved']} resolved"
    names = values["names"]["standing"] or values["names"]["resolved"]
    title = f"[{values['level']}] Alert storm{' is over' if values['over'] else ''}: {counts}: {names}"
    news = [
        f"{what}: {each.text}" for what in ("firing", "eased", "resolved") for each in values[f"new_{what}"]
    ]
    return {
        "title": title, "subject": title, "summary": counts, "news": "\n".join(news),
        "standing": "\n".join(each.text for each in values["standing"]), "body": "\n".join([counts, *news]),
    }  # fmt: skip


def _of_digest(values: Mapping[str, Any]) -> dict[str, str]:
    rows = [values["period"], *(f"{each.level}: {each.counts}" for each in values["levels"])]
    for section in values["sections"]:
        rows += ["", f"{section.title}: {section.count}"]
        for entry in section.entries:
            facts = "; ".join(
                filter(None, [entry.listed, entry.news, entry.facts, entry.summary, entry.note])
            )
            rows.append(f"  [{entry.level}] {entry.what}{f': {facts}' if facts else ''}")
        rows += [f"  and {each}" for each in section.others]
    return {"subject": f"Alert digest, {values['period']}: {values['headline']}", "body": "\n".join(rows)}
