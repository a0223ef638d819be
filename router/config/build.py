"""Builds the rules in force from the models of routes.yaml: looks up names, and collects every mistake."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from router.channels import REGISTRY, ChannelSettings, ChannelSpec
from router.channels.base import AuthoritySettings, is_placeholder
from router.config.access_build import AccessBuilder
from router.config.document import Location, MissingVariables
from router.config.fragments import Fragment, Fragments, Main
from router.config.intervals import named_intervals
from router.config.models import FileModel, InhibitModel, NetworkModel, SourceModel
from router.config.problems import Problem, Trap, did_you_mean
from router.config.reader import Reader, without_secrets
from router.config.receivers import destinations, report_conflicts, resolve_names, schedules
from router.config.routes import Inherited, Names, Routes
from router.config.source_build import source_of
from router.config.tenant_build import build_tenants
from router.config.watch_build import build_heartbeats, check_silent_receivers
from router.decide import Policy, Route, Severity
from router.decide.inhibition import Inhibition, Rule
from router.model import OWN_SOURCE, Destination, Millis, Source
from router.network import Network, check_certificates, proxies_of

# Names that no source may have, and what each already means.
_RESERVED_SOURCE_NAMES = {
    OWN_SOURCE: "the source of the router's own alerts",
    "unknown": "what metrics call a webhook that comes from no source",
}
# Sections that decide nothing about alerts: after a change of them alone, no alert has to be judged again.
_NOT_RULES = ("deadman", "drill", "users", "web", "slo", "tenant_label", "tenants", "sentry", "tracing")


class Builder:
    """Builds the main file and the files that it includes. Use the results only if the document has no errors."""

    def __init__(
        self,
        reader: Reader,
        environ: Mapping[str, str],
        now: Millis,
        last_good: Mapping[str, str],
        read_before: tuple[Fragment, ...] | None = None,
    ) -> None:
        """
        :param environ: the values of variables
        :param last_good: see :func:`router.config.load`
        :param read_before: the included files as they were read before; None: they are read now
        """
        self.fragments: Fragments | None = None
        self.routes: Routes | None = None
        self._reader = reader
        self.document = reader.document
        self._environ = environ
        self._now = now
        self._last_good = last_good
        self._read_before = read_before

    @cached_property
    def file(self) -> FileModel | None:
        return self._reader.read_model(FileModel)

    @cached_property
    def settings(self) -> dict[str, ChannelSettings]:
        """Return the settings of the sections of ``channels:``, by name."""
        sections: dict[str, ChannelSpec] = {}
        for kind in REGISTRY.values():
            sections.setdefault(kind.section, kind)
        settings: dict[str, ChannelSettings] = {}
        for name, value in self._reader.mapping("channels").items():
            where = ("channels", name)
            if name not in sections:
                todo = did_you_mean(name, sections, "the channels are")
                self.document.add_error(where, f"there is no channel {name!r}", todo, at_key=True)
            elif (read := self._reader.validate(sections[name].settings, value, where)) is not None:
                if isinstance(read, AuthoritySettings) and read.ca_file is not None:
                    read = read.with_certificates(self._ca_certificates(read.ca_file, where))
                settings[name] = read
        if self.document.missing is not MissingVariables.ERROR:
            for name, kind in sections.items():
                placeholders = kind.settings.model_validate(kind.placeholder)
                given = settings.setdefault(name, placeholders)
                lacking = [key for key in kind.needed_settings if getattr(given, key) is None]
                settings[name] = given.model_copy(update={key: getattr(placeholders, key) for key in lacking})
        return settings

    def policy(self) -> Policy | None:
        """Return the rules; None: the file has mistakes that prevent further checks."""
        file, reader = self.file, self._reader
        sections = reader.mapping("channels")
        receivers = destinations(reader, sections, self.settings)
        seen: dict[str, Destination] = {}
        report_conflicts(reader, receivers, seen)
        if file is None:
            return None
        resolve_names(reader, receivers, {name: name for name in receivers})
        intervals = named_intervals(reader, file.time_intervals, file.timezone)
        severity = _severity(file)
        names = Names({name: name for name in receivers}, receivers, intervals, severity.levels)
        timed = dict(schedules(reader, receivers, file.timezone))
        main = Main(
            reader.folder,
            names,
            sections,
            self.settings,
            file.timezone,
            self._environ,
            self.document.missing,
            self.document.secrets,
            self._now,
            seen,
        )
        self.fragments = Fragments(file.include, main, self._last_good, self._read_before)
        root = self._root(file, names)
        self.fragments.report_unmounted()
        for fragment in self.fragments.all.values():
            if (part := fragment.loaded) is not None:
                receivers |= part.receivers
                timed |= part.schedules
                intervals |= {each.name: each for each in part.intervals.values()}
        return Policy(
            severity=severity,
            root=root,
            receivers=receivers,
            schedules=timed,
            intervals=intervals,
            inhibition=Inhibition(tuple(self._rules(file))),
            inhibit_wait=file.inhibit_wait,
            stale_after=self._stale_after(file, root),
            operators=self._operators(file, names),
            watched=build_heartbeats(reader, file),
            fingerprint=self._fingerprint(receivers),
            tenants=build_tenants(self.document, file),
        )

    def network(self) -> Network:
        """Return how other servers are reached, from the section ``network:`` and the environment."""
        model = self.file.network if self.file is not None else NetworkModel()
        given = model.proxy_url.get_secret_value() if model.proxy_url is not None else None
        if given is not None and is_placeholder(given):
            if self.document.missing is MissingVariables.ERROR and not self.document.has_errors:
                # Nothing is missing, so it is not a placeholder.
                todo = "write it like http://proxy.example.com:3128"
                self.document.add_error(
                    ("network", "proxy_url"), "proxy_url is no proxy that can be used", todo
                )
            given = None
        proxies, ignored = proxies_of(
            self._environ,
            proxy_url=given,
            no_proxy=model.no_proxy,
        )
        for what in ignored:
            todo = "correct it in the environment, or set `network:` here"
            self.document.add_warning(Trap.ENVIRONMENT, ("network",), what, todo)
        # Read from the data as given: if several entries of the section are wrong, the model drops the whole section.
        ca_file = self._reader.mapping("network").get("ca_file")
        is_given = isinstance(ca_file, str) and ca_file != ""
        return Network(proxies, self._ca_certificates(str(ca_file), ("network",)) if is_given else "")

    def _ca_certificates(self, name: str, section: Location) -> str:
        """Return the content of a ``ca_file``; empty: it can't be used, and the error is added.

        :param section: the location of the mapping that has the key
        """
        where, path = (*section, "ca_file"), self._reader.folder / name
        self._reader.files.append(path)
        self.document.secrets.note_file(path)
        try:
            text = path.read_text("ascii", "replace")
            check_certificates(text)
        except OSError as error:
            what, todo = f"{path} can't be read: {error.strerror}", "put the authority's certificates there"
            self.document.add_error(where, what, todo)
        except ValueError as error:
            todo = "put the authority's certificates there, as PEM"
            self.document.add_error(where, f"{path} {error}", todo)
        else:
            return text
        return ""

    def rule_positions(self) -> dict[str, str]:
        """Return the position of each rule, ``file:line``, by its name in decisions. Call :meth:`policy` before."""
        parts = self.fragments.all.values() if self.fragments is not None else ()
        files = [(part.loaded.document, part.loaded.routes) for part in parts if part.loaded is not None]
        if self.routes is not None:
            files.append((self.document, self.routes))
        found = {
            path: f"{document.name}:{document.position(where)[0]}"
            for document, routes in files
            for path, where in routes.locations.items()
        }
        if self.file is not None and self.file.operators is not None:
            found["operators"] = f"{self.document.name}:{self.document.position(('operators',))[0]}"
        for index in range(len(self.file.heartbeats) if self.file is not None else 0):
            line, _ = self.document.position(("heartbeats", index))
            found[f"heartbeats[{index}]"] = f"{self.document.name}:{line}"
        return found

    def _root(self, file: FileModel, names: Names) -> Route:
        if file.route.has_conditions:
            what, todo = "the root route has matchers", "it catches all; move them to a route below"
            self.document.add_error(("route",), what, todo)
        self.routes = Routes(self._reader, names, self._now, self._mount)
        return self.routes.build(file.route, "route", ("route",), Inherited())

    def _operators(self, file: FileModel, names: Names) -> str | None:
        operators = file.operators
        if operators is not None and self._reader.is_known(
            operators, names.receivers, ("operators",), "receiver"
        ):
            return operators
        return None

    def _mount(self, name: str, where: Location, inherited: Inherited) -> Route | None:
        fragments = self.fragments
        if fragments is None:  # it is only called while fragments are loaded
            return None
        if name in fragments.mounted:
            self.document.add_error(where, f"{name!r} is mounted twice", "keep one of the two")
            return None
        todo = did_you_mean(
            name, fragments.all, "add it to the folder that `include:` names; the included files are"
        )
        line, column = self.document.position(where)
        absent = Problem(self.document.name, line, column, f"there is no included file {name!r}", todo)
        return fragments.mount(name, absent, inherited)

    def _stale_after(self, file: FileModel, root: Route) -> Millis:
        """Return after how many milliseconds without a repeat an alert counts as ended.

        It is longer than Alertmanager waits between repeats.
        """
        silent = max(route.grouping.repeat for route, _, _ in root.walk())
        if file.stale_after is None:
            return 3 * silent
        if 0 < file.stale_after <= silent:
            self.document.add_error(
                ("stale_after",),
                "alerts would count as ended before Alertmanager repeats them",
                "make it longer than every `repeat_interval`, which is 4h where none is given",
            )
        return file.stale_after

    def sources(self) -> tuple[Source, ...]:
        """Return the sources, and add an error for each name or credential that can't be used."""
        found: dict[str, Source] = {}
        credentials: dict[tuple[str | None, ...], str] = {}
        for index, model in enumerate(self.file.sources if self.file is not None else ()):
            where = ("sources", index)
            if model.name in found:
                what = f"there are two sources {model.name!r}"
                self.document.add_error((*where, "name"), what, "give each its own name")
            if (use := _RESERVED_SOURCE_NAMES.get(model.name.casefold())) is not None:
                what = f"the name {model.name!r} is reserved: it is {use}"
                self.document.add_error((*where, "name"), what, "give the source another name")
            if model.bearer_token is not None and model.basic_auth is not None:
                what = f"the source {model.name!r} has two credentials"
                self.document.add_error(where, what, "keep bearer_token or basic_auth")
            if (auth := model.alertmanager_auth) is not None:
                if model.alertmanager_url is None:
                    what = f"the source {model.name!r} has alertmanager_auth, but no alertmanager_url"
                    self.document.add_error((*where, "alertmanager_auth"), what, "add alertmanager_url")
                if (auth.bearer_token is None) is (auth.basic_auth is None):
                    what = f"the alertmanager_auth of the source {model.name!r} has no credential, or two"
                    self.document.add_error(
                        (*where, "alertmanager_auth"), what, "give bearer_token or basic_auth"
                    )
            source = found[model.name] = source_of(model)
            self._check_credentials(source, model, where, credentials)
        if self.file is not None:
            check_silent_receivers(self._reader, self.file)
        return tuple(found.values())

    @cached_property
    def access(self) -> AccessBuilder:
        """Builds the users and the trusted proxy."""
        return AccessBuilder(self.document, self.file)

    def _check_credentials(
        self,
        source: Source,
        model: SourceModel,
        where: Location,
        credentials: dict[tuple[str | None, ...], str],
    ) -> None:
        """Add an error if two sources share credentials, because the credentials identify the source of a webhook.

        :param credentials: the names of the earlier sources, by their credentials; this one is added
        """
        given = (source.bearer_token, source.username, source.password, source.password_hash)
        if not source.has_credentials:
            return
        other = credentials.setdefault(given, source.name)
        if other != source.name and self.document.missing is not MissingVariables.MADE_UP:
            key = "bearer_token" if model.bearer_token is not None else "basic_auth"
            what = f"the sources {other!r} and {source.name!r} have the same credentials"
            todo = "give each its own, because the credentials identify the source of a webhook"
            self.document.add_error((*where, key), what, todo)

    def _rules(self, file: FileModel) -> list[Rule]:
        return [_rule(rule, index) for index, rule in enumerate(file.inhibit_rules) if rule is not None]

    def _fingerprint(self, receivers: Mapping[str, tuple[Destination, ...]]) -> str:
        """Return a hash that changes with the rules, and is made without secrets."""
        keys = sorted(each.key for several in receivers.values() for each in several)
        parts: dict[str, Any] = {
            name: fragment.loaded.content
            for name, fragment in (self.fragments.all if self.fragments is not None else {}).items()
            if fragment.loaded is not None
        }
        rules = {
            key: value for key, value in without_secrets(self.document.data).items() if key not in _NOT_RULES
        }
        content = json.dumps([rules, parts, keys], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def _severity(file: FileModel) -> Severity:
    levels = tuple(level.strip().casefold() for level in file.severity.levels)
    default = file.severity.default
    fallback = levels[min(1, len(levels) - 1)] if default is None else default.strip().casefold()
    return Severity(file.severity.label, levels, fallback)


def _rule(model: InhibitModel, index: int) -> Rule:
    return Rule(
        source=(*model.source_match, *model.source_match_re, *model.source_matchers),
        target=(*model.target_match, *model.target_match_re, *model.target_matchers),
        equal=model.equal,
        name=model.name or f"inhibit_rules[{index}]",
    )
