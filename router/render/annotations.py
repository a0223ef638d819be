"""The texts of an alert that a person reads: summary, description, and the other annotations as notes."""

from router.model import Alert, Labels
from router.render.links import DASHBOARD_ANNOTATIONS, RUNBOOK_ANNOTATIONS, linked_note
from router.render.words import web_address

_DESCRIPTIONS = ("description", "message")


def summary_of(annotations: Labels) -> str:
    """Return the summary; without one, the first line of the description."""
    return annotations.get("summary", "").strip() or whole_description(annotations).partition("\n")[0]


def description_of(annotations: Labels) -> str:
    """Return the description without what :func:`summary_of` says already."""
    summary, description = annotations.get("summary", "").strip(), whole_description(annotations)
    if not summary:
        return description.partition("\n")[2].strip()
    return "" if summary == description else description


def annotations_of(alert: Alert) -> Labels:
    """Return the annotations of an alert, and as notes the values that Grafana measured and a source that is no address."""
    notes = dict(alert.annotations)
    source = alert.generator_url.strip()
    more = {"value": alert.values, "source": "" if web_address(source) else source}
    for name, text in more.items():
        if text:
            while name in notes:
                name += " (Grafana)" if text == alert.values else " (sender)"  # noqa: PLW2901  (until it is free)
            notes[name] = text
    return notes


def notes_of(annotations: Labels) -> Labels:
    """Return the annotations beside summary, description and links. Names in ``__`` are Grafana's own."""
    used = {"summary", next((name for name in _DESCRIPTIONS if annotations.get(name)), "")}
    used |= {linked_note(annotations, names) for names in (RUNBOOK_ANNOTATIONS, DASHBOARD_ANNOTATIONS)}
    return {
        name: value
        for name, value in annotations.items()
        if value.strip() and name not in used and not name.startswith("__")
    }


def whole_description(annotations: Labels) -> str:
    """Return the description, or the message, as the sender wrote it; empty: there is none."""
    return next((value for name in _DESCRIPTIONS if (value := annotations.get(name, "").strip())), "")
