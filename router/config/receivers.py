"""Reads the receivers of routes.yaml: named lists of destinations. Also reads the schedules of digests."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from router.channels import KEYWORDS, REGISTRY, ChannelSettings, ChannelSpec, spec_of
from router.config.document import Location, MissingVariables
from router.config.fields import minute_of_day, zone
from router.config.findings import describe_finding, split_message
from router.config.models import IntervalModel
from router.config.problems import Trap, did_you_mean
from router.config.reader import Reader
from router.decide.hours import Schedule
from router.model import Destination


def destinations(
    reader: Reader,
    sections: Mapping[str, Any],
    settings: Mapping[str, ChannelSettings],
    prefix: str = "",
) -> dict[str, tuple[Destination, ...]]:
    """Return the destinations of each receiver, by its name in the file.

    :param sections: ``channels:`` as given; it shows which channels have credentials
    :param settings: the sections that are valid, by name
    :param prefix: is put before the receivers' names in the keys of their digests
    """
    receivers: dict[str, tuple[Destination, ...]] = {}
    for name, items in reader.mapping("receivers").items():
        where = ("receivers", name)
        if not isinstance(items, list | None):
            what, todo = "a receiver is a list of destinations", "write `- slack: {channel: C…}`"
            reader.document.add_error(where, what, todo)
            items = []  # noqa: PLW2901  (routes can still name the receiver)
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
        document.add_error(
            where, "a destination is one word with its options", "write `- slack: {channel: C…}`"
        )
        return None
    ((name, options),) = item.items()
    kind = spec_of(name, options)
    if kind is None:
        todo = did_you_mean(name, KEYWORDS, "the channels are")
        document.add_error((*where, name), f"there is no channel {name!r}", todo, at_key=True)
        return None
    read = reader.validate(kind.options, options, (*where, name))
    if missing := _missing_credentials(kind, sections):
        document.add_missing_credential((*where, name), f"{name} has no credentials", missing, at_key=True)
    if (limitation := kind.limitation) and all(each.what != limitation[0] for each in document.problems):
        document.add_warning(Trap.LIMITED, (*where, name), *limitation, at_key=True)  # once a file
    if read is None:
        return None
    return kind.destination(read.key(receiver), read, kind.settings_in(settings))


def _missing_credentials(kind: ChannelSpec, sections: Mapping[str, Any]) -> str:
    """Return what to do about credentials that a channel needs; empty: nothing is missing."""
    if kind.section not in sections:
        return "" if kind.section_is_optional else f"add `{kind.section}:` under channels"
    given = sections[kind.section]
    missing = [key for key in kind.needed_settings if not isinstance(given, dict) or given.get(key) is None]
    return f"add `{missing[0]}` to channels.{kind.section}" if missing else ""


def resolve_names(
    reader: Reader, receivers: dict[str, tuple[Destination, ...]], scope: Mapping[str, str]
) -> None:
    """Replace names in ``covers`` and ``on_failure`` by the full names of the receivers.

    :param scope: full names, by the names used in the file
    """
    for name, found in receivers.items():
        receivers[name] = tuple(
            replace(each, on_failure=_stand_in(reader, each, scope, ("receivers", name, index)))
            for index, each in enumerate(found)
        )
    for name, found in receivers.items():
        for index, destination in enumerate(found):
            if destination.digest and destination.options.covers:
                where = ("receivers", name, index, REGISTRY[destination.channel].word, "covers")
                covers = [
                    scope[each]
                    for each in destination.options.covers
                    if reader.is_known(each, scope, where, "receiver")
                ]
                options = destination.options.model_copy(update={"covers": tuple(covers)})
                receivers[name] = (*found[:index], replace(destination, options=options), *found[index + 1 :])


def _stand_in(
    reader: Reader, destination: Destination, scope: Mapping[str, str], where: Location
) -> str | None:
    name = destination.options.on_failure
    position = (*where, REGISTRY[destination.channel].word, "on_failure")
    return scope[name] if name is not None and reader.is_known(name, scope, position, "receiver") else None


def schedules(
    reader: Reader, receivers: Mapping[str, tuple[Destination, ...]], timezone: str
) -> Iterator[tuple[str, Schedule]]:
    """Yield the key and the schedule of each digest destination.

    :param timezone: the name of the time zone for destinations that set none
    """
    for name, found in receivers.items():
        where: Location = ("receivers", name)
        digests = [(index, each) for index, each in enumerate(found) if each.digest]
        if len(digests) > 1:
            reader.document.add_error(
                where, f"the receiver {name!r} has two digests", "make them two receivers"
            )
        for index, destination in digests:
            options, position = destination.options, (*where, index, REGISTRY[destination.channel].word)
            for key in ("weekdays", "covers"):
                if key in options.model_fields_set and not getattr(options, key):
                    what, todo = f"{key} is empty", "name at least one, or leave the key out: then all count"
                    reader.document.add_error((*position, key), what, todo)
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
                reader.document.add_error(location, *describe_finding(error.errors()[0], location))
            except ValueError as error:
                reader.document.add_error((*position, "at"), *split_message(str(error)))


def report_conflicts(
    reader: Reader, receivers: Mapping[str, tuple[Destination, ...]], seen: dict[str, Destination]
) -> None:
    """Add an error for each destination that has different options in two receivers.

    :param seen: the destinations of the files read before, by key; those of this file are added
    """
    for name, found in receivers.items():
        for index, destination in enumerate(found):
            other = seen.setdefault(destination.key, destination)
            if other != destination and reader.document.missing is not MissingVariables.MADE_UP:
                what = f"{destination.key} has other options in another receiver"
                todo = "make the options the same, or name the destinations differently"
                reader.document.add_error(
                    ("receivers", name, index, REGISTRY[destination.channel].word), what, todo, at_key=True
                )
