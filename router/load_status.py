"""The state of the configuration: when it was loaded, and what is wrong with its files. For metrics, pages and people."""

from itertools import chain
from pathlib import Path
from typing import Any

import structlog

from router.config import Config, Trap, show_problem
from router.metrics import Metrics
from router.model import Millis
from router.store import Phase

log = structlog.get_logger(__name__)


class ReloadError(Exception):
    """A reload has failed. The text says why, for people and without secrets.

    The last good configuration stays in force, unless the text says that the new one is.
    """


class LoadStatus:
    """Keeps the result of the last load of routes.yaml, and describes the configuration in force."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self._path = path
        self._metrics = metrics
        self._config: Config | None = None
        self._loaded_at: Millis = 0
        self._loaded_by = ""
        self._files_error: str | None = None
        """Why the last load of all files failed; None: it succeeded."""
        self._secrets_error: str | None = None
        """Why the last load of only the secrets failed, if no load has succeeded since."""
        self._unfinished_error: str | None = None
        """Why the rules in force are not followed completely; None: nothing has failed, or it has succeeded since."""
        self.phase: Phase | None = None
        """What is left to do until all firing alerts are judged by the rules in force; None: nothing."""

    def set_phase(self, phase: Phase | None) -> None:
        self.phase = phase
        self._metrics.rules_applied(is_complete=phase is None)

    @property
    def error(self) -> str | None:
        """Why the last load failed; None: the files are in force as they are."""
        return self._unfinished_error or self._files_error or self._secrets_error

    @property
    def has_secrets_error(self) -> bool:
        """The last load of only the secrets failed, and no load has succeeded since."""
        return self._secrets_error is not None

    @property
    def is_unfinished(self) -> bool:
        """Something failed after the rules in force were adopted, and has not succeeded yet."""
        return self._unfinished_error is not None

    def loaded(self, config: Config, now: Millis, *, only_secrets: bool = False, by: str = "") -> None:
        """Record that a configuration is in force, and log what is wrong with its included files.

        :param by: who asked for it
        :param only_secrets: the other files were not read, so an error in them stays
        """
        self._config, self._loaded_at, self._loaded_by, self._secrets_error = config, now, by, None
        if not only_secrets:
            self._files_error = None
        self._metrics.config_loaded(config.digest, now)
        if self.error is not None:
            self._metrics.config_load_failed()
        destinations = chain.from_iterable(config.policy.receivers.values())
        self._metrics.begin_at_zero(
            (each.name for each in config.sources), {each.channel for each in destinations}
        )
        self._metrics.targets(config.targets.ratios(config.policy.tenants.names))
        self._metrics.fragments({each.name: not each.problems for each in config.fragments})
        for problem in config.problems:
            if problem.trap is Trap.ENVIRONMENT:
                log.warning("a proxy setting is ignored", problem=f"{problem.what}; {problem.todo}")
        for fragment in config.fragments:
            if fragment.problems:
                problems = "\n".join(show_problem(problem, fragment.texts) for problem in fragment.problems)
                log.error(
                    "an included file is broken", file=str(fragment.file), state=fragment.state, problems=problems
                )  # fmt: skip

    def failed(self, error: str, *, only_secrets: bool = False) -> None:
        """Record and log why a load failed.

        :param error: for people, without secrets
        :param only_secrets: the other files were not read
        """
        is_known = only_secrets and error == self._secrets_error  # the secrets are tried again and again
        if only_secrets:
            self._secrets_error = error
        else:
            self._files_error = error
        self._metrics.config_load_failed()
        if not is_known:
            log.error("reload failed; the last good config stays", config=str(self._path), problems=error)

    def unfinished(self, error: str) -> None:
        """Record and log why the rules in force can't be followed completely. :param error: for people, without secrets"""
        is_known, self._unfinished_error = error == self._unfinished_error, error
        self._metrics.config_load_failed()
        if not is_known:
            log.error("the new config is in force, but incomplete", config=str(self._path), problems=error)

    def finished(self) -> None:
        """Record that the rules in force are followed completely."""
        if self._unfinished_error is None:
            return
        self._unfinished_error = None
        log.info("the new config is complete", config=str(self._path))
        if self._config is not None and self.error is None:
            self._metrics.config_loaded(self._config.digest, self._loaded_at)

    def describe(self) -> dict[str, Any]:
        """Return what ``/status`` shows. Times are epoch milliseconds."""
        config = self._config
        return {
            "file": str(self._path),
            "loaded_at": self._loaded_at,
            "loaded_by": self._loaded_by,
            "digest": config.digest if config is not None else None,
            "error": self.error,
            "applied": self.phase is None,
            "fragments": [
                {
                    "name": each.name,
                    "file": str(each.file),
                    "state": each.state,
                    "problems": [str(problem) for problem in each.problems],
                }
                for each in (config.fragments if config is not None else ())
            ],
        }
