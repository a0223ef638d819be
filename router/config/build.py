"""From the shape of routes.yaml to the rules in force; names are looked up, every mistake is collected."""

import copy
import hashlib
import json
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import holidays
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.channels import KINDS, Section
from router.config.document import Document, Location, placeholder
from router.config.findings import findings, keys_at, prune, split, words
from router.config.models import (
    FileModel,
    HolidaysModel,
    InhibitModel,
    IntervalModel,
    OutsideDigest,
    RouteModel,
    SourceModel,
    TimeIntervalModel,
    minute_of_day,
    zone,
)
from router.config.problems import did_you_mean
from router.decide import Outside, Policy, Route, Severity
from router.decide.hours import Calendar, Hours, Interval, NamedInterval, Schedule
from router.decide.inhibition import Inhibition, Rule
from router.model import Destination, Millis, Source

M = TypeVar("M", bound=BaseModel)
_SECRETS = {"token", "bearer_token", "password", "routing_key"}
# Where {file: path} stands for a secret.
_SECRET_PLACES = {"channels", "receivers", "sources"}


class Builder:
    """Collects problems in the document; what it returns is only to be used when there are none."""

    def __init__(self, document: Document, folder: Path, now: Millis, *, preview: bool) -> None:
        self._document = document
        self._folder = folder
        self._now = now
        self._preview = preview
        data = document.data
        for place in _SECRET_PLACES & data.keys():
            data[place] = self._read_secrets(data[place], (place,))

    @cached_property
    def file(self) -> FileModel | None:
        """The file's shape. What is wrong in it is reported and left out, so that the rest is looked at, too;
        None: too little is left.
        """
        data, reported = copy.deepcopy(self._document.data), set()
        while True:
            try:
                return FileModel.model_validate(data)
            except ValidationError as error:
                pruned = False
                for detail in findings(error):
                    if detail["loc"] not in reported:
                        reported.add(detail["loc"])
                        self._explain(FileModel, detail, ())
                    pruned |= prune(data, detail["loc"])
                if not pruned:
                    return None

    @cached_property
    def settings(self) -> dict[str, Section]:
        """The sections of ``channels:`` by name."""
        given = self._document.data.get("channels")
        given = given if isinstance(given, dict) else {}
        sections = {kind.section: kind for kind in KINDS.values()}
        settings: dict[str, Section] = {}
        for name, value in given.items():
            where = ("channels", name)
            if name not in sections:
                self._document.problem(
                    where,
                    f"there is no channel {name!r}",
                    did_you_mean(name, sections, "the channels are"),
                    at_key=True,
                )
            elif (
                read := self._validated(sections[name].settings, value if value is not None else {}, where)
            ) is not None:
                settings[name] = read
        if self._preview:
            for name, kind in sections.items():
                settings.setdefault(name, kind.settings.model_validate(kind.placeholder))
        return settings

    @cached_property
    def receivers(self) -> dict[str, tuple[Destination, ...]]:
        given = self._document.data.get("receivers")
        receivers: dict[str, tuple[Destination, ...]] = {}
        for name, items in (given if isinstance(given, dict) else {}).items():
            where = ("receivers", name)
            if not isinstance(items, list | None):
                self._document.problem(
                    where, "a receiver is a list of destinations", "write `- slack: {channel: C…}`"
                )
                items = []  # noqa: PLW2901  (the name is known all the same)
            found = (self._destination(name, item, (*where, index)) for index, item in enumerate(items or []))
            receivers[name] = tuple(each for each in found if each is not None)
        return receivers

    def policy(self) -> Policy | None:
        """The rules, or None where the shape is too wrong to look further."""
        file, receivers, _ = self.file, self.receivers, self.settings
        if file is None:
            return None
        levels = tuple(level.strip().casefold() for level in file.severity.levels)
        default = file.severity.default
        severity = Severity(
            file.severity.label,
            levels,
            default.strip().casefold() if default is not None else levels[min(1, len(levels) - 1)],
        )
        intervals = self._intervals(file)
        root = self._route(file.route, "route", ("route",), None, intervals, levels)
        if file.route.matchers or file.route.match or file.route.match_re or file.route.severity:
            self._document.problem(
                ("route",), "the root route has matchers", "it catches all; move them to a route below"
            )
        return Policy(
            severity=severity,
            root=root,
            receivers=receivers,
            schedules=self._schedules(file),
            inhibition=Inhibition(
                tuple(self._rule(rule, index) for index, rule in enumerate(file.inhibit_rules))
            ),
            inhibit_wait=file.inhibit_wait,
            fingerprint=self._fingerprint(),
        )

    def sources(self) -> tuple[Source, ...]:
        found: dict[str, Source] = {}
        for index, model in enumerate(self.file.sources if self.file is not None else ()):
            if model.name in found:
                self._document.problem(
                    ("sources", index, "name"),
                    f"there are two sources {model.name!r}",
                    "give each its own name",
                )
            if model.bearer_token is not None and model.basic_auth is not None:
                self._document.problem(
                    ("sources", index),
                    f"the source {model.name!r} has two credentials",
                    "keep bearer_token or basic_auth",
                )
            found[model.name] = _source(model)
        return tuple(found.values())

    def _destination(self, receiver: str, item: Any, where: Location) -> Destination | None:
        if not isinstance(item, dict) or len(item) != 1:
            self._document.problem(
                where, "a destination is one word with its options", "write `- slack: {channel: C…}`"
            )
            return None
        ((name, options),) = item.items()
        kind = KINDS.get(name)
        if kind is None:
            todo = did_you_mean(name, KINDS, "the channels are")
            self._document.problem((*where, name), f"there is no channel {name!r}", todo, at_key=True)
            return None
        read = self._validated(kind.options, options if options is not None else {}, (*where, name))
        given = self._document.data.get("channels")
        if not self._preview and not (isinstance(given, dict) and kind.section in given):
            self._document.problem(
                (*where, name),
                f"{name} has no credentials",
                f"add `{kind.section}:` under channels",
                at_key=True,
            )
        if read is None:
            return None
        return Destination(read.key(receiver), name, read, read.per_alert, digest=name == "digest")

    def _schedules(self, file: FileModel) -> dict[str, Schedule]:
        schedules: dict[str, Schedule] = {}
        for name, destinations in self.receivers.items():
            for index, destination in enumerate(each for each in destinations if each.digest):
                options, where = destination.options, ("receivers", name)
                if index > 0:
                    self._document.problem(
                        where, f"the receiver {name!r} has two digests", "make them two receivers"
                    )
                for covered in options.covers:
                    self._known(covered, self.receivers, (*where, 0, "digest", "covers"), "receiver")
                try:
                    schedules[destination.key] = Schedule(
                        minute_of_day(options.at) % (24 * 60),
                        IntervalModel.model_validate({"weekdays": list(options.weekdays)}).weekdays,
                        zone(options.timezone or file.timezone),
                    )
                except ValidationError as error:
                    self._document.problem(
                        (*where, 0, "digest", "weekdays"), *words(error.errors()[0], ("weekdays",))
                    )
                except ValueError as error:
                    self._document.problem((*where, 0, "digest", "at"), *split(str(error)))
        return schedules

    def _intervals(self, file: FileModel) -> dict[str, NamedInterval]:
        found: dict[str, NamedInterval] = {}
        for index, model in enumerate(file.time_intervals):
            where = ("time_intervals", index)
            if model.name in found:
                self._document.problem(
                    (*where, "name"), f"there are two time_intervals {model.name!r}", "give each its own name"
                )
            found[model.name] = self._interval(model, where, file.timezone)
        return found

    def _interval(self, model: TimeIntervalModel, where: Location, default: str) -> NamedInterval:
        entries = tuple(
            Interval(
                times=tuple(
                    (minute_of_day(each.start_time), minute_of_day(each.end_time)) for each in entry.times
                ),
                weekdays=entry.weekdays,
                days_of_month=entry.days_of_month,
                months=entry.months,
                years=entry.years,
                zone=zone(entry.location or default),
            )
            for entry in model.time_intervals
        )
        calendar = None
        if model.holidays is not None:
            local = entries[0].zone if entries else zone(default)
            calendar = self._calendar(model.holidays, (*where, "holidays"), local)
        return NamedInterval(model.name, entries, calendar)

    def _calendar(self, model: HolidaysModel, where: Location, local: Any) -> Calendar | None:
        dates = []
        for index, text in enumerate(model.dates):
            try:
                dates.append(date.fromisoformat(text))
            except ValueError:
                self._document.problem(
                    (*where, "dates", index), f"{text!r} is no date", "write it like 2026-12-24"
                )
        country, subdivision = model.country, model.subdivision
        if country is not None:
            supported = holidays.list_supported_countries()
            if not self._known(country, supported, (*where, "country"), "country"):
                return None
            if subdivision is not None and not self._known(
                subdivision, supported[country], (*where, "subdivision"), "subdivision"
            ):
                return None
        elif subdivision is not None:
            self._document.problem((*where, "subdivision"), "a subdivision of no country", "add `country:`")
        return Calendar(dates, country, subdivision, local)

    def _route(
        self, model: RouteModel, path: str, where: Location, inherited: str | None,
        intervals: Mapping[str, NamedInterval], levels: tuple[str, ...],
    ) -> Route:  # fmt: skip
        receiver = model.receiver or inherited
        if receiver is None:
            self._document.problem(where, "the root route has no receiver", "name the one that catches all")
        elif model.receiver is not None:
            self._known(model.receiver, self.receivers, (*where, "receiver"), "receiver")
        severity = model.severity.strip().casefold() if model.severity is not None else None
        if severity is not None:
            self._known(severity, levels, (*where, "severity"), "severity level")
        hours = self._hours(model, where, intervals)
        outside, digest = self._outside(model, where)
        self._opens(hours, outside, where)
        return Route(
            path=path,
            receiver=receiver or "",
            matchers=(*model.match, *model.match_re, *model.matchers),
            severity=severity,
            continue_=model.continue_,
            hours=hours,
            outside=outside,
            outside_digest=digest,
            routes=tuple(
                self._route(
                    child, f"{path}.routes[{index}]", (*where, "routes", index), receiver, intervals, levels
                )
                for index, child in enumerate(model.routes)
            ),
        )

    def _hours(
        self, model: RouteModel, where: Location, intervals: Mapping[str, NamedInterval]
    ) -> Hours | None:
        named: dict[str, tuple[NamedInterval, ...]] = {}
        for key in ("active_time_intervals", "mute_time_intervals"):
            names = getattr(model, key)
            known = [
                name
                for index, name in enumerate(names)
                if self._known(name, intervals, (*where, key, index), "time interval")
            ]
            named[key] = tuple(intervals[name] for name in known)
        active, mute = named["active_time_intervals"], named["mute_time_intervals"]
        return Hours(active, mute) if active or mute else None

    def _outside(self, model: RouteModel, where: Location) -> tuple[Outside, str | None]:
        if not isinstance(model.outside, OutsideDigest):
            return Outside(model.outside), None
        name = model.outside.digest
        place = (*where, "outside", "digest")
        if self._known(name, self.receivers, place, "receiver") and not any(
            each.digest for each in self.receivers[name]
        ):
            self._document.problem(
                place, f"the receiver {name!r} has no digest", "name one that has, or add `- digest:` to it"
            )
        return Outside.DIGEST, name

    def _opens(self, hours: Hours | None, outside: Outside, where: Location) -> None:
        if hours is None or outside is not Outside.HOLD:
            return
        if not hours.open(self._now) and hours.next_opening(self._now) is None:
            self._document.problem(
                where,
                "these hours never open: alerts would be held for ever",
                "mend the intervals, or set `outside:` to drop, send or digest",
            )

    def _rule(self, model: InhibitModel, index: int) -> Rule:
        return Rule(
            source=(*model.source_match, *model.source_match_re, *model.source_matchers),
            target=(*model.target_match, *model.target_match_re, *model.target_matchers),
            equal=model.equal,
            name=model.name or f"inhibit_rules[{index}]",
        )

    def _known(self, name: str, known: Any, where: Location, what: str) -> bool:
        if name in known:
            return True
        todo = did_you_mean(name, known, f"the {'countries' if what == 'country' else what + 's'} are")
        self._document.problem(where, f"there is no {what} {name!r}", todo)
        return False

    def _validated(self, model: type[M], data: Any, where: Location) -> M | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in findings(error):
                self._explain(model, detail, where)
            return None

    def _explain(self, model: type[BaseModel], detail: ErrorDetails, where: Location) -> None:
        location = (*where, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            key = str(detail["loc"][-1])
            known = keys_at(model, detail["loc"][:-1])
            todo = did_you_mean(key, known, "the keys here are")
            self._document.problem(location, f"unknown key {key!r}", todo, at_key=True)
        elif detail["type"] == "missing":
            self._document.problem(location, f"{detail['loc'][-1]!r} is missing", "add it")
        else:
            self._document.problem(location, *words(detail, location))

    def _read_secrets(self, data: Any, where: Location) -> Any:
        """{file: path} becomes what the file holds."""
        if isinstance(data, list):
            return [self._read_secrets(each, (*where, index)) for index, each in enumerate(data)]
        if not isinstance(data, dict):
            return data
        if data.keys() == {"file"} and isinstance(data["file"], str) and where[-1] in _SECRETS:
            return self._secret(self._folder / data["file"], (*where, "file"))
        return {key: self._read_secrets(value, (*where, key)) for key, value in data.items()}

    def _secret(self, path: Path, where: Location) -> str:
        try:
            return path.read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            if not self._preview:
                self._document.problem(where, f"{path} can't be read: {reason}", "put the secret there")
            return placeholder(path.name)

    def _fingerprint(self) -> str:
        """Changes with the rules, and holds no secret."""
        keys = sorted(each.key for several in self.receivers.values() for each in several)
        content = json.dumps([_masked(self._document.data), keys], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def _source(model: SourceModel) -> Source:
    token, basic = model.bearer_token, model.basic_auth
    return Source(
        model.name,
        token.get_secret_value() if token is not None else None,
        basic.username if basic is not None else None,
        basic.password.get_secret_value() if basic is not None else None,
    )


def _masked(data: Any) -> Any:
    match data:
        case dict():
            return {key: "" if key in _SECRETS else _masked(value) for key, value in data.items()}
        case list():
            return [_masked(each) for each in data]
        case _:
            return data
