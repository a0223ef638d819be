"""routes.yaml: read, checked as a whole, and turned into the rules in force."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from router.channels import ChannelSettings
from router.config.build import Builder
from router.config.document import Document, MissingVariables, load_text, read_document
from router.config.drill import Drill, build_drill
from router.config.file_identity import FileIdentity, has_changed, identify_file
from router.config.fragments import Fragment, included_files
from router.config.problems import ConfigError, Problem, Trap, show_problem
from router.config.reader import Reader
from router.config.shown_files import ShownFile, mask_files
from router.config.telemetry_build import TelemetryBuilder
from router.config.traps import find_traps
from router.config.watch_build import build_deadman
from router.decide import Policy
from router.model import (
    AccessSettings,
    Configuration,
    DeadmanSettings,
    Millis,
    Retention,
    Source,
    Targets,
    TelemetrySettings,
)
from router.network import DIRECT, Network
from router.render import Templates


@dataclass(frozen=True, slots=True)
class Config:
    """All of routes.yaml, ready to use."""

    policy: Policy
    sources: tuple[Source, ...]
    settings: Mapping[str, ChannelSettings]
    """The sections of ``channels:`` by name."""
    timezone: str
    templates: Path | None
    digest: str
    """SHA-256 of the files in force, in hex."""
    retention: Retention
    network: Network = DIRECT
    targets: Targets = field(default_factory=Targets)
    """The targets of the objectives."""
    access: AccessSettings = field(default_factory=AccessSettings)
    """The users, and how the pages are reached."""
    deadman: DeadmanSettings | None = None
    """The monitor outside that is pinged; None: none is."""
    drill: Drill | None = None
    """The tests of receivers by a schedule; None: there are none."""
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    """Where errors and traces are sent."""
    fragments: tuple[Fragment, ...] = ()
    """The included files."""
    files: tuple[Path, ...] = ()
    """All files that were read, and the folders that were listed."""
    problems: tuple[Problem, ...] = ()
    """The warnings, if it was loaded with ``checking``; else empty."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The texts of the files, with secrets masked, by name: for showing problems."""
    secret_files: Mapping[Path, FileIdentity] = field(default_factory=dict)
    """The files of secrets, also those of broken included files. Each as it was just before it was read; empty: it could
    not be read, or was not.
    """
    text: str = field(default="", repr=False)
    """The main file as it was read, its secrets included."""
    include: tuple[str, ...] = ()
    """The patterns of the included files."""
    shown: tuple[ShownFile, ...] = field(default=(), repr=False)
    """The files in force, the main one first, with secrets masked; empty: it was loaded without ``for_pages``."""

    def open_templates(self) -> Templates:
        """:raises TemplateError: the folder or a file in it can't be used"""
        severity = self.policy.severity
        return Templates(
            levels=severity.levels,
            timezone=self.timezone,
            severity_label=severity.label,
            directory=self.templates,
        )


def load(
    path: Path, *, environ: Mapping[str, str], now: Millis, preview: bool = False, checking: bool = False,
    last_good: Mapping[str, str] | None = None, for_pages: bool = False,
) -> Config:  # fmt: skip
    """Read a file and the files that it includes. Of a broken included file, the last good version is used; if there is none, the file is left out.

    :param preview: nothing will be sent: missing variables, secrets and channel sections get made-up values
    :param checking: nothing will be sent: ``problems`` of the result are the missing credentials, and the traps
    :param last_good: ``Fragment.loaded.kept`` of the last version in force, by the name of the included file
    :param for_pages: the result has the texts of the files, see :attr:`Config.shown`
    :raises ConfigError: with every mistake in the main file and its position
    """
    name = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        todo = "give the path of one with --config"
        raise ConfigError([Problem(name, 1, 1, f"can't be read: {error.strerror}", todo)]) from None
    return loads(
        load_text(data, name), name=name, folder=path.parent, environ=environ, now=now, preview=preview, checking=checking,
        last_good=last_good, for_pages=for_pages,
    )  # fmt: skip


def load_secrets_again(
    before: Config, path: Path, *, environ: Mapping[str, str], now: Millis, preview: bool,
    last_good: Mapping[str, str],
) -> Config:  # fmt: skip
    """Load a configuration again from the texts that it was loaded from, and read only the files of secrets. No other
    file or folder is looked at.

    :param path: of the main file; it is not read
    :raises ConfigError: a secret can't be used
    """
    return loads(
        before.text, name=str(path), folder=path.parent, environ=environ, now=now, preview=preview, last_good=last_good,
        before=before, for_pages=bool(before.shown),
    )  # fmt: skip


def loads(  # noqa: PLR0913  (each is an option of its own)
    text: str, *, name: str, folder: Path, environ: Mapping[str, str], now: Millis, preview: bool = False,
    checking: bool = False, last_good: Mapping[str, str] | None = None, before: Config | None = None, for_pages: bool = False,
) -> Config:  # fmt: skip
    """Load rules from a text, as :func:`load` does from a file.

    :param folder: the base of relative paths in the text
    :param before: the configuration of the same text, of which only the secrets are read again; None: all files are
        read
    """
    missing = (
        MissingVariables.WARNING
        if checking
        else MissingVariables.MADE_UP
        if preview
        else MissingVariables.ERROR
    )
    document = read_document(text, name, environ, missing)
    reader = Reader(document, folder)
    read_before = before.fragments if before is not None else None
    builder = Builder(reader, environ, now, last_good or {}, read_before)
    policy, sources, file = builder.policy(), builder.sources(), builder.file
    network = builder.network()
    access = builder.access.build(sources)
    telemetry = TelemetryBuilder(document, file, environ).build()
    templates = None
    if file is not None and file.templates is not None:
        templates = folder / file.templates
        if before is None and not templates.is_dir():
            document.add_error(
                ("templates",), f"{templates} is not a folder", "make it, or leave `templates:` out"
            )
    fragments = tuple(builder.fragments.all.values()) if builder.fragments is not None else ()
    drill = build_drill(file, policy, reader, fragments) if file is not None and policy is not None else None
    if document.has_errors or policy is None or file is None:
        raise ConfigError(document.errors, {document.name: document.text})
    if checking:
        find_traps(builder, policy, now)
        builder.access.warn_of_weak(sources)
    texts = {document.name: document.text} if document.problems else {}
    loaded = [each.loaded for each in fragments if each.loaded is not None]
    for fragment in fragments:
        texts |= fragment.texts
    digest = hashlib.sha256("\0".join([text, *(part.text for part in loaded)]).encode()).hexdigest()
    policy = replace(
        policy,
        configuration=Configuration(digest, builder.rule_positions()),
        sources=tuple(each.name for each in sources),
    )
    secret_files = document.secrets.files
    if before is None:
        folders = {(folder / each).parent for each in file.include}
        files = {Path(name), *(each.file for each in fragments), *folders, *_template_files(templates)}
    else:
        files = set(before.files)
    return Config(
        policy, sources, builder.settings, file.timezone, templates,
        digest=digest,
        drill=drill,
        fragments=fragments,
        files=tuple(sorted({*files, *secret_files})),
        problems=tuple(sorted({*document.problems, *(p for each in fragments for p in each.problems)})),
        texts=texts,
        network=network,
        access=access,
        deadman=build_deadman(file),
        telemetry=telemetry,
        retention=Retention(**file.retention.model_dump()),
        targets=Targets(
            file.slo.window, file.slo.percents, {each.name: each.slo.percents for each in file.tenants}
        ),
        secret_files=dict(sorted(secret_files.items())),
        text=text,
        include=tuple(file.include),
        shown=mask_files([document, *(part.document for part in loaded)]) if for_pages else (),
    )  # fmt: skip


def _template_files(folder: Path | None) -> tuple[Path, ...]:
    return (folder, *folder.glob("*.j2")) if folder is not None else ()


__all__ = [
    "Config",
    "ConfigError",
    "Document",
    "Drill",
    "FileIdentity",
    "Fragment",
    "Problem",
    "ShownFile",
    "Trap",
    "has_changed",
    "identify_file",
    "included_files",
    "load",
    "load_secrets_again",
    "load_text",
    "loads",
    "show_problem",
]
