"""Loads routes.yaml and the files that it names, and notices when files change."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from router.clock import Clock
from router.config import (
    Config,
    ConfigError,
    FileIdentity,
    has_changed,
    identify_file,
    included_files,
    load,
    load_secrets_again,
    load_text,
)
from router.render import Templates
from router.threads import Threads

_FILE_THREADS = 4
Signature = tuple[tuple[str, FileIdentity], ...]


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration as it was loaded from the files."""

    config: Config
    templates: Templates
    only_secrets: bool = False
    """Only the files of secrets were read for it; the rules and the templates are those of the configuration before."""
    template_files: Mapping[Path, FileIdentity] = field(default_factory=dict)
    """Each as it was just before it was read."""


class DiskState(StrEnum):
    """How a file on the disk compares with what is in force."""

    IN_FORCE = "in force"
    CHANGED = "changed"
    MISSING = "missing"
    NEW = "new"
    """It is included, and was not there when the configuration was loaded."""
    LEFT_OUT = "left out"
    """It is an included file with a mistake, and no version of it is in force."""
    UNREADABLE = "unreadable"

    @property
    def is_other(self) -> bool:
        """Whether a reload would read something else than what is in force."""
        return self not in {DiskState.IN_FORCE, DiskState.LEFT_OUT}


@dataclass(frozen=True, slots=True)
class FileOnDisk:
    """A file of the configuration, as it is now."""

    path: Path
    state: DiskState


class ConfigFiles:
    """Reads the files of one configuration, in threads of its own."""

    def __init__(
        self, path: Path, environ: Mapping[str, str], clock: Clock, *, preview: bool,
        check: Callable[[Config, Path], None] = lambda _config, _path: None,
    ) -> None:  # fmt: skip
        """
        :param preview: missing variables, secrets and channel sections are made up
        :param check: called with each configuration and the path of its main file; it raises a ConfigError if the
            configuration does not fit the options of the service
        """
        self.path = path
        self._environ = environ
        self._clock = clock
        self._preview = preview
        self._check = check
        self._threads = Threads("files", _FILE_THREADS)

    async def load(self, last_good: Mapping[str, str]) -> LoadedConfig:
        """Read all files.

        :param last_good: the last good text of each included file, by name
        :raises ConfigError: with every mistake in routes.yaml
        :raises TemplateError: the templates can't be used
        """
        return await self._threads.run(self._load, last_good)

    async def load_secrets(self, before: LoadedConfig, last_good: Mapping[str, str]) -> LoadedConfig:
        """Read only the files of secrets. The rules and the templates stay those of ``before``, because a person may be editing
        their files.

        :raises ConfigError: a secret can't be used
        """
        return await self._threads.run(self._load_secrets, before, last_good)

    async def signature(self, files: Iterable[Path]) -> Signature:
        """Return a value that changes when one of the files changes, appears or disappears.

        Links are followed: Kubernetes puts a new version of a secret in place by swapping a link. A folder changes when
        a file in it appears or disappears.
        """
        return await self._threads.run(_signature, files)

    async def secrets_changed(self, loaded: LoadedConfig) -> bool:
        """Return whether a file of secrets has changed since it was read for a configuration."""
        return await self._threads.run(_any_changed, loaded.config.secret_files)

    async def on_disk(self, loaded: LoadedConfig) -> tuple[FileOnDisk, ...]:
        """Return how the files on the disk compare with a configuration that was loaded from them."""
        return await self._threads.run(_on_disk, self.path, loaded)

    async def changed_since_read(self, loaded: LoadedConfig) -> bool:
        """Return whether a file has changed since it was read for a configuration. The text that was read counts, also if it had a
        mistake and an older text is in force. Files of secrets are not compared.
        """
        return await self._threads.run(_changed_since_read, self.path, loaded)

    def close(self) -> None:
        self._threads.shutdown()

    def _load(self, last_good: Mapping[str, str]) -> LoadedConfig:
        config = load(
            self.path,
            environ=self._environ,
            now=self._clock.now(),
            preview=self._preview,
            last_good=last_good,
            for_pages=True,
        )
        self._check(config, self.path)
        templates = {path: identify_file(path) for path in config.files if path.suffix == ".j2"}
        return LoadedConfig(config, config.open_templates(), template_files=templates)

    def _load_secrets(self, before: LoadedConfig, last_good: Mapping[str, str]) -> LoadedConfig:
        config = load_secrets_again(
            before.config, self.path, environ=self._environ, now=self._clock.now(), preview=self._preview,
            last_good=last_good,
        )  # fmt: skip
        return LoadedConfig(config, before.templates, only_secrets=True, template_files=before.template_files)


def _signature(files: Iterable[Path]) -> Signature:
    return tuple((str(path), identify_file(path)) for path in files)


def _any_changed(files: Mapping[Path, FileIdentity]) -> bool:
    return any(has_changed(path, before) for path, before in files.items())


def _on_disk(path: Path, loaded: LoadedConfig) -> tuple[FileOnDisk, ...]:
    return tuple(FileOnDisk(each, state) for each, state in _states(path, loaded))


def _states(path: Path, loaded: LoadedConfig) -> Iterator[tuple[Path, DiskState]]:
    config = loaded.config
    yield path, _compared(path, config.text)
    seen = {path}
    for fragment in config.fragments:
        if fragment.file in seen:
            continue
        seen.add(fragment.file)
        in_force = fragment.loaded
        state = _compared(fragment.file, in_force.text if in_force is not None else fragment.read)
        yield fragment.file, DiskState.LEFT_OUT if in_force is None and state is DiskState.IN_FORCE else state
    yield from ((each, DiskState.NEW) for each in _new_included_files(path, config))
    for each, before in {**loaded.template_files, **config.secret_files}.items():
        now = identify_file(each)
        yield each, DiskState.IN_FORCE if now == before != () else _differs(each)


def _new_included_files(path: Path, config: Config) -> Iterator[Path]:
    known = {path, *(each.file for each in config.fragments)}
    return (each for each in included_files(config.include, path.parent) if each not in known)


def _changed_since_read(path: Path, loaded: LoadedConfig) -> bool:
    config = loaded.config
    read = {path: config.text} | {each.file: each.read for each in config.fragments if each.read is not None}
    templates = set() if config.templates is None else set(config.templates.glob("*.j2"))
    return (
        any(_compared(file, text) is not DiskState.IN_FORCE for file, text in read.items())
        or any(_new_included_files(path, config))
        or templates != loaded.template_files.keys()
        or _any_changed(loaded.template_files)
    )


def _differs(path: Path) -> DiskState:
    return DiskState.CHANGED if identify_file(path) else DiskState.MISSING


def _compared(path: Path, text: str | None) -> DiskState:
    """:param text: of the file in force; None: it could not be read"""
    try:
        now = load_text(path.read_bytes(), str(path))
    except FileNotFoundError:
        return DiskState.MISSING
    except OSError:
        return DiskState.UNREADABLE
    except ConfigError:  # it is not UTF-8
        return DiskState.CHANGED
    return DiskState.IN_FORCE if now == text else DiskState.CHANGED
