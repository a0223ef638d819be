"""Builds what watches the senders and the router itself: heartbeats, silent sources, the dead man's switch."""

from router.config.document import Location
from router.config.models import FileModel
from router.config.reader import Reader
from router.decide.heartbeats import Heartbeat, HeartbeatTable
from router.model import DEFAULT_SOURCE, DeadmanSettings

_MAX_WATCHED = 1_000
"""The most heartbeats x sources. Each has metrics and a row on the page."""


def build_heartbeats(reader: Reader, file: FileModel) -> HeartbeatTable:
    """Return the heartbeats, and add an error for each name that is unknown or used twice."""
    sources = {model.name for model in file.sources} or {DEFAULT_SOURCE}
    found: dict[str, Heartbeat] = {}
    for index, model in enumerate(file.heartbeats):
        where = ("heartbeats", index)
        if model.name in found:
            what = f"there are two heartbeats {model.name!r}"
            reader.document.add_error((*where, "name"), what, "give each its own name")
        if model.source is not None:
            reader.is_known(model.source, sources, (*where, "source"), "source")
        _check_receiver(reader, model.receiver, (*where, "receiver"))
        found[model.name] = Heartbeat(
            model.name, model.matchers, model.within, f"heartbeats[{index}]", model.source, model.receiver
        )
    watched = sum(1 if each.source is not None else len(sources) for each in found.values())
    if watched > _MAX_WATCHED:
        what = f"heartbeats of {watched:,} sources are watched, and at most {_MAX_WATCHED:,} can be"
        reader.document.add_error(
            ("heartbeats",), what, "name the `source` of each heartbeat, or watch fewer"
        )
    return HeartbeatTable(tuple(found.values()))


def check_silent_receivers(reader: Reader, file: FileModel) -> None:
    """Add an error for each receiver of silent sources that is unknown, or to which nothing would be reported."""
    for index, model in enumerate(file.sources):
        where = ("sources", index, "silent_receiver")
        _check_receiver(reader, model.silent_receiver, where)
        is_given = "silent_after" in reader.document.data["sources"][index]  # also if its value is a mistake
        if model.silent_receiver is not None and not is_given:
            what = f"the source {model.name!r} has silent_receiver, but no silent_after"
            reader.document.add_error(where, what, "add silent_after, for example 30m")


def build_deadman(file: FileModel) -> DeadmanSettings | None:
    """Return the settings of the dead man's switch; None: there is none."""
    model = file.deadman
    if model is None:
        return None
    return DeadmanSettings(
        model.url.get_secret_value(),
        model.every,
        model.method,
        model.text or "",
        model.timeout,
        model.stuck_after,
    )


def silent_receivers(file: FileModel) -> frozenset[str]:
    """Return the receivers that are notified of silence. No route has to use them."""
    named = {each.receiver for each in file.heartbeats} | {each.silent_receiver for each in file.sources}
    return frozenset(each for each in named if each is not None)


def _check_receiver(reader: Reader, receiver: str | None, where: Location) -> None:
    if receiver is not None:
        reader.is_known(receiver, reader.mapping("receivers"), where, "receiver")
