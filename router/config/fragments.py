"""Loads included files (fragments). Each belongs to a team, and a broken one does not affect the others.

A fragment is a small routes.yaml: receivers, time intervals, and a route. The route is placed below the route of the main
file that has ``mount:`` with the name of the fragment, which is its file name without the ending. The names that it
defines get its name as a prefix (``payments/oncall``). It can also use the names of the main file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from router.channels import ChannelSettings
from router.config.document import Document, MissingVariables, load_text, read_document
from router.config.intervals import named_intervals
from router.config.models import FragmentModel
from router.config.problems import ConfigError, Problem
from router.config.reader import Reader, without_secrets
from router.config.receivers import destinations, report_conflicts, resolve_names, schedules
from router.config.routes import Inherited, Names, Routes
from router.config.secrets import Secrets
from router.decide import Route
from router.decide.hours import NamedInterval, Schedule
from router.model import Destination, Millis

# The file name ending of tests of rules. They are in the same folder as the rules, and are not fragments.
TESTS = ".test.yaml"


@dataclass(frozen=True, slots=True)
class Main:
    """The parts of the main file that fragments use, and the settings for reading files."""

    folder: Path
    names: Names
    sections: Mapping[str, Any]
    """The section ``channels:`` as written."""
    settings: Mapping[str, ChannelSettings]
    """The valid sections of ``channels:``, by name."""
    timezone: str
    environ: Mapping[str, str]
    missing: MissingVariables
    secrets: Secrets
    """The secrets of all files read so far."""
    now: Millis
    destinations: dict[str, Destination]
    """The destinations of all files read so far, by key."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last good version of a fragment: its text, and the variables and secret files that it used, by name."""

    text: str
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> str:
        return json.dumps({"text": self.text, "variables": self.variables, "files": self.files})

    @classmethod
    def read(cls, written: str) -> "LastGood":
        """Return what :meth:`written` returned. Earlier versions kept only the text."""
        try:
            data = json.loads(written)
            return cls(data["text"], data["variables"], data["files"])
        except (ValueError, KeyError, TypeError):
            return cls(written)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A fragment that can be used."""

    text: str = field(repr=False)
    document: Document
    files: tuple[Path, ...]
    model: FragmentModel = field(repr=False)
    receivers: Mapping[str, tuple[Destination, ...]]
    """The receivers, by full name (with the prefix)."""
    schedules: Mapping[str, Schedule]
    intervals: Mapping[str, NamedInterval]
    """The time intervals, by their names in the file."""
    names: Names
    reader: Reader
    route: Route
    routes: Routes

    @property
    def kept(self) -> str:
        """Everything that is needed to load it again, including its secrets, as JSON."""
        return LastGood(self.text, self.document.variables, self.reader.held).written()

    @property
    def content(self) -> Any:
        """Its data, without secrets."""
        return without_secrets(self.document.data)


@dataclass(slots=True)
class Fragment:
    """An included file: the version in force, and the problems of the present file."""

    name: str
    file: Path
    problems: tuple[Problem, ...] = ()
    """Problems of the present file."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The text of the file with secrets masked, by file name."""
    loaded: Loaded | None = None
    """The version in force: the present file, or if that is broken, the last good version. None: neither can
    be used.
    """
    stale: bool = False
    read: str | None = field(default=None, repr=False)
    """The text of the present file; None: it could not be read, or has not been read yet."""

    @property
    def state(self) -> str:
        if self.loaded is None:
            return "left out"
        return "last good version" if self.stale else "loaded"


class Fragments:
    """The included files of a main file."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        main: Main,
        last_good: Mapping[str, str],
        read_before: tuple[Fragment, ...] | None = None,
    ) -> None:
        """
        :param last_good: the last version of each fragment that was in force (``Loaded.kept``), by name
        :param read_before: files that were read before; they are used instead of the files in the folder
        """
        self._main = main
        self._last_good = last_good
        self._only_secrets = read_before is not None
        self.mounted: set[str] = set()
        self.all: dict[str, Fragment] = {}
        for each in read_before or ():
            name = str(each.file) if each.name in self.all else each.name
            problems = () if each.read is not None else each.problems
            self.all[name] = Fragment(each.name, each.file, problems, each.texts, read=each.read)
        for path in included_files(patterns, main.folder) if read_before is None else ():
            fragment = Fragment(path.stem, path)
            if path.stem in self.all:
                todo = f"rename one: {self.all[path.stem].file} has that name, too"
                fragment.problems = (
                    Problem(str(path), 1, 1, f"there are two fragments {path.stem!r}", todo),
                )
                self.all[str(path)] = fragment
            else:
                self.all[path.stem] = fragment

    def mount(self, name: str, position: Problem, inherited: Inherited) -> Route | None:
        """Load a fragment below its mount point, and return its root route; None: it can't be used.

        :param position: the problem to report if there is no such file
        """
        fragment = self.all.get(name)
        if fragment is None:
            fragment = self.all[name] = Fragment(name, Path(position.file), (position,))
            self._fall_back(fragment, inherited)
        else:
            self._read(fragment, inherited)
        self.mounted.add(name)
        return fragment.loaded.route if fragment.loaded is not None else None

    def report_unmounted(self) -> None:
        """Add a problem to each fragment that no route mounts. Call it after the main file is built."""
        for name, fragment in self.all.items():
            if name not in self.mounted and not fragment.problems:
                todo = f"write `mount: {name}` in the route of the main file that it belongs to"
                fragment.problems = (Problem(str(fragment.file), 1, 1, "no route mounts this file", todo),)

    def _read(self, fragment: Fragment, inherited: Inherited) -> None:
        if fragment.read is None and not fragment.problems:
            try:
                fragment.read = load_text(fragment.file.read_bytes(), str(fragment.file))
            except OSError as error:
                what = f"can't be read: {error.strerror}"
                fragment.problems = (Problem(str(fragment.file), 1, 1, what, "correct or remove it"),)
            except ConfigError as error:
                fragment.problems, fragment.texts = error.errors, error.texts
        if fragment.read is not None:
            self._use(fragment, LastGood(fragment.read), inherited)
        if fragment.loaded is None:
            self._fall_back(fragment, inherited)

    def _fall_back(self, fragment: Fragment, inherited: Inherited) -> None:
        """Use the last good version of a file, if there is one; the problems of the present file are kept."""
        if fragment.name in self._last_good:
            problems, texts = fragment.problems, fragment.texts
            kept = LastGood.read(self._last_good[fragment.name])
            if self._only_secrets:  # the secret files may have changed, although the text has not
                self._use(fragment, replace(kept, files={}), inherited)
            if fragment.loaded is None:
                self._use(fragment, kept, inherited)
            if fragment.loaded is not None and not self._only_secrets:
                # The kept secrets may be older than their files: a load of only the secrets reads the files.
                self._main.secrets.files.update(dict.fromkeys(fragment.loaded.files, ()))
            fragment.problems, fragment.texts, fragment.stale = problems, texts, fragment.loaded is not None

    def _use(self, fragment: Fragment, kept: LastGood, inherited: Inherited) -> None:
        main, name = self._main, str(fragment.file)
        try:
            environ = {**main.environ, **kept.variables}
            document = read_document(kept.text, name, environ, main.missing, main.secrets)
        except ConfigError as error:
            fragment.problems, fragment.texts = error.errors, error.texts
            return
        seen = dict(main.destinations)
        fragment.loaded = _load(kept, document, fragment, main, seen, inherited)
        fragment.texts, fragment.problems = {name: document.text}, tuple(document.problems)
        if document.has_errors:
            fragment.loaded = None
        else:
            main.destinations.update(seen)


def _load(
    kept: LastGood,
    document: Document,
    fragment: Fragment,
    main: Main,
    seen: dict[str, Destination],
    inherited: Inherited,
) -> Loaded | None:
    reader, prefix = Reader(document, fragment.file.parent, kept.files), f"{fragment.name}/"
    model = reader.read_model(FragmentModel)
    own = destinations(reader, main.sections, main.settings, prefix)
    report_conflicts(reader, own, seen)
    if model is None:
        return None
    full = {name: f"{prefix}{name}" for name in own}
    for name in own:
        if full[name] in main.names.destinations:
            what = f"the main file has a receiver {full[name]!r}, too"
            document.add_error(("receivers", name), what, "rename one of them", at_key=True)
    scope = {**main.names.receivers, **full}
    resolve_names(reader, own, scope)
    receivers = {full[name]: found for name, found in own.items()}
    intervals = named_intervals(reader, model.time_intervals, main.timezone, prefix)
    names = Names(
        scope,
        {**main.names.destinations, **receivers},
        {**main.names.intervals, **intervals},
        main.names.levels,
    )
    if model.route.has_conditions:
        what, todo = (
            "the route of a fragment has matchers",
            "its mount point has them; move these to a route below",
        )
        document.add_error(("route",), what, todo)
    routes = Routes(reader, names, main.now)
    route = routes.build(model.route, f"{fragment.name}: route", ("route",), inherited)
    found = dict(schedules(reader, own, main.timezone))
    return Loaded(
        kept.text,
        document,
        tuple(reader.files),
        model,
        receivers,
        found,
        intervals,
        names,
        reader,
        route,
        routes,
    )


def included_files(patterns: tuple[str, ...], folder: Path) -> Iterator[Path]:
    """Yield the files that ``include:`` names, in order. Tests of rules are left out."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    yield from sorted(path for path in found if not path.name.endswith(TESTS))
