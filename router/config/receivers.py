"""Receivers: names for lists of destinations, with the schedules of their digests."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from router.channels import REGISTRY, ChannelSettings
from router.config.document import Location, MissingVariables
from router.config.fields import minute_of_day, zone
from router.config.findings import split, words
from router.config.models import IntervalModel
from router.config.problems import did_you_mean
from router.config.reader import Reader
from router.decide.hours import Schedule
from router.model import Destination


def destinations(
    reader: Reader,
    sections: Mapping[str, Any],
    settings: Mapping[str, ChannelSettings],
    prefix: str = "",
) -> dict[str, tuple[Destination, ...]]:
    """The destinations of each receiver, by the name that the file gives it.

    :param sections: ``channels:`` as given: which channels have credentials
    :param settings: the same, as far as they could be read
    :param prefix: goes before the receivers' names in the keys of their digests
    """
    receivers: dict[str, tuple[Destination, ...]] = {}
    for name, items in reader.mapping("receivers").items():
        where = ("receivers", name)
        if not isinstance(items, list | None):
            what, todo = "a receiver is a list of destinations", "write `- slack: {channel: C…}`"
            reader.document.problem(where, what, todo)
            items = []  # noqa: PLW2901  (the name is known all the same)
        found = (
            _destination(reader, sections, settings, f"{prefix}{name}", item, (*where, index))
            for index, item in enumerate(items or [])
        )
        receivers[name] = tuple(each for each in found if each is not None)
    return receivers


def _destination(
    reader: Reader,
    sections: Mapping[str, Any],
    settings: Mapping[str, ChannelSettings],
    receiver: str,
    item: Any,
    where: Location,
) -> Destination | None:
    document = reader.document
    if not isinstance(item, dict) or len(item) != 1:
        document.problem(
            where, "a destination is one word with its options", "write `- slack: {channel: C…}`"
        )
        return None
    ((name, options),) = item.items()
    kind = REGISTRY.get(name)
    if kind is None:
        todo = did_you_mean(name, REGISTRY, "the channels are")
        document.problem((*where, name), f"there is no channel {name!r}", todo, at_key=True)
        return None
    read = reader.validated(kind.options, options, (*where, name))
    if kind.section not in sections:
        todo = f"add `{kind.section}:` under channels"
        document.lack((*where, name), f"{name} has no credentials", todo, at_key=True)
    if read is None:
        return None
    limits = kind.limits_of(read, settings.get(kind.section))
    return Destination(
        read.key(receiver), name, read, read.per_alert, digest=name == "digest", machine=kind.machine, limits=limits,
        send_resolved=read.send_resolved,
    )  # fmt: skip


def resolve_names(
    reader: Reader, receivers: dict[str, tuple[Destination, ...]], scope: Mapping[str, str]
) -> None:
    """What digests cover and who stands in for a failed destination, by the receivers' full names.

    :param scope: full names by the names used here
    """
    for name, found in receivers.items():
        receivers[name] = tuple(
            replace(each, on_failure=_stand_in(reader, each, scope, ("receivers", name, index)))
            for index, each in enumerate(found)
        )
    for name, found in receivers.items():
        for index, destination in enumerate(found):
            if destination.digest and destination.options.covers:
                where = ("receivers", name, index, "digest", "covers")
                covers = [
                    scope[each]
                    for each in destination.options.covers
                    if reader.known(each, scope, where, "receiver")
                ]
                options = destination.options.model_copy(update={"covers": tuple(covers)})
                receivers[name] = (*found[:index], replace(destination, options=options), *found[index + 1 :])


def _stand_in(
    reader: Reader, destination: Destination, scope: Mapping[str, str], where: Location
) -> str | None:
    name = destination.options.on_failure
    position = (*where, destination.channel, "on_failure")
    return scope[name] if name is not None and reader.known(name, scope, position, "receiver") else None


def schedules(
    reader: Reader, receivers: Mapping[str, tuple[Destination, ...]], timezone: str
) -> Iterator[tuple[str, Schedule]]:
    """Each digest destination's key, with its schedule."""
    for name, found in receivers.items():
        where: Location = ("receivers", name)
        digests = [(index, each) for index, each in enumerate(found) if each.digest]
        if len(digests) > 1:
            reader.document.problem(
                where, f"the receiver {name!r} has two digests", "make them two receivers"
            )
        for index, destination in digests:
            options, position = destination.options, (*where, index, "digest")
            for key in ("weekdays", "covers"):
                if key in options.model_fields_set and not getattr(options, key):
                    what, todo = f"{key} is empty", "name some, or leave the key out: then all count"
                    reader.document.problem((*position, key), what, todo)
            try:
                yield (
                    destination.key,
                    Schedule(
                        minute_of_day(options.at) % (24 * 60),
                        IntervalModel(weekdays=options.weekdays).weekdays or (),
                        zone(options.timezone or timezone),
                    ),
                )
            except ValidationError as error:
                location = (*position, *error.errors()[0]["loc"])
                reader.document.problem(location, *words(error.errors()[0], location))
            except ValueError as error:
                reader.document.problem((*position, "at"), *split(str(error)))


def conflicting(
    reader: Reader, receivers: Mapping[str, tuple[Destination, ...]], seen: dict[str, Destination]
) -> None:
    """One place can't be told in two ways. :param seen: by key; grows"""
    for name, found in receivers.items():
        for index, destination in enumerate(found):
            other = seen.setdefault(destination.key, destination)
            if other != destination and reader.document.missing is not MissingVariables.MADE_UP:
                what = f"{destination.key} stands in another receiver with other options"
                todo = "make them the same, or name them differently"
                reader.document.problem(
                    ("receivers", name, index, destination.channel), what, todo, at_key=True
                )
