"""The drill: tests of receivers by a schedule."""

from dataclasses import dataclass

from router.config.document import Location
from router.config.fields import zone
from router.config.fragments import Fragment
from router.config.models import FileModel
from router.config.reader import Reader
from router.decide import Policy
from router.decide.hours import Schedule
from router.model import Millis


@dataclass(frozen=True, slots=True)
class Drill:
    """Which receivers are tested, and when."""

    schedule: Schedule
    receivers: tuple[str, ...]
    severity: str
    timeout: Millis
    """How long the router waits for the answers to each of the two messages of a test."""
    report_to: str | None = None
    """The receiver that is notified of a drill that fails; None: that of ``operators``, or as the routes say."""


def build_drill(
    file: FileModel, policy: Policy, reader: Reader, fragments: tuple[Fragment, ...]
) -> Drill | None:
    """Return the drill of routes.yaml; None: it has none. Each mistake is added to the document.

    While an included file can't be used, unknown receivers are left out: a mistake of a team prevents no start.
    """
    model = file.drill
    if model is None:
        return None
    is_complete = all(each.loaded is not None for each in fragments)

    def is_known(name: str, where: Location) -> bool:
        if not is_complete and name not in policy.receivers:
            return False
        return reader.is_known(name, policy.receivers, where, "receiver")

    receivers = tuple(
        name
        for index, name in enumerate(model.receivers)
        if is_known(name, ("drill", "receivers", index)) and name not in model.receivers[:index]
    )
    report_to = model.report_to
    if report_to is not None and not is_known(report_to, ("drill", "report_to")):
        report_to = None
    levels = policy.severity.levels
    severity = (model.severity or levels[0]).strip().casefold()
    reader.is_known(severity, levels, ("drill", "severity"), "level")
    schedule = Schedule(model.at, model.weekdays or (), zone(model.timezone or file.timezone))
    return Drill(schedule, receivers, severity, model.timeout, report_to)
