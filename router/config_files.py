"""Loads routes.yaml and the files that it names, and notices when files change."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.clock import Clock
from router.config import (
    Config,
    ConfigError,
    FileIdentity,
    Fragment,
    has_changed,
    identify_file,
    included_files,
    load,
    load_secrets_again,
)
from router.config.document import load_text
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

    async def differ_from(self, config: Config) -> bool:
        """Return whether the files of the rules say something else now than when a configuration was loaded from them."""
        return await self._threads.run(_differ, self.path, config)

    def close(self) -> None:
        self._threads.shutdown()

    def _load(self, last_good: Mapping[str, str]) -> LoadedConfig:
        config = load(
            self.path,
            environ=self._environ,
            now=self._clock.now(),
            preview=self._preview,
            last_good=last_good,
        )
        self._check(config, self.path)
        return LoadedConfig(config, config.open_templates())

    def _load_secrets(self, before: LoadedConfig, last_good: Mapping[str, str]) -> LoadedConfig:
        config = load_secrets_again(
            before.config, self.path, environ=self._environ, now=self._clock.now(), preview=self._preview,
            last_good=last_good,
        )  # fmt: skip
        return LoadedConfig(config, before.templates, only_secrets=True)


def _signature(files: Iterable[Path]) -> Signature:
    return tuple((str(path), identify_file(path)) for path in files)


def _any_changed(files: Mapping[Path, FileIdentity]) -> bool:
    return any(has_changed(path, before) for path, before in files.items())


def _differ(path: Path, config: Config) -> bool:
    included = {each.file: each for each in config.fragments if each.file != path}
    if _text_of(path) != config.text or {*included_files(config.include, path.parent)} != included.keys():
        return True
    return any(map(_is_other, included.values()))


def _is_other(fragment: Fragment) -> bool:
    """Return whether an included file is not in force as it is on the disk."""
    if fragment.read is None and fragment.loaded is None:  # it could not be used when it was loaded
        return False
    return fragment.stale or fragment.loaded is None or _text_of(fragment.file) != fragment.read


def _text_of(path: Path) -> str | None:
    """Return the text of a file; None: it can't be read."""
    try:
        return load_text(path.read_bytes(), str(path))
    except (OSError, ConfigError):
        return None
