"""How the rules in force came to be, and what is wrong with the files now: for metrics, pages and people."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from router.config import Config, show_problem
from router.metrics import Metrics
from router.model import Millis
from router.store import Phase

log = structlog.get_logger(__name__)


class ReloadError(Exception):
    """The files can't be used; those before stay in force. The text is for people, and holds no secret."""


class Loading:
    """The last load of routes.yaml, and the last good one."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self._path = path
        self._metrics = metrics
        self._config: Config | None = None
        self._at: Millis = 0
        self._error: str | None = None
        self.phase: Phase | None = None
        """What is left to do until everything that fires is judged by the rules in force; None: nothing."""

    def applying(self, phase: Phase | None) -> None:
        self.phase = phase
        self._metrics.applied(phase is None)

    def loaded(self, config: Config, now: Millis) -> None:
        self._config, self._at, self._error = config, now, None
        self._metrics.loaded(config.digest, now)
        self._metrics.fragments({each.name: not each.problems for each in config.fragments})
        for fragment in config.fragments:
            if fragment.problems:
                problems = "\n".join(show_problem(problem, fragment.texts) for problem in fragment.problems)
                log.error(
                    "an included file is broken",
                    file=str(fragment.file),
                    state=fragment.state,
                    problems=problems,
                )

    def failed(self, error: str) -> None:
        self._error = error
        self._metrics.load_failed()
        log.error("reload failed, the last good config stays", config=str(self._path), problems=error)

    def describe(self) -> dict[str, Any]:
        """For ``/status``: times in epoch milliseconds."""
        config = self._config
        return {
            "file": str(self._path),
            "loaded_at": self._at,
            "digest": config.digest if config is not None else None,
            "error": self._error,
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


def signature(files: Iterable[Path]) -> tuple[Any, ...]:
    """Changes when one of the files does, or comes, or goes; a folder does when a file in it comes or goes."""
    return tuple((str(path), *_stat(path)) for path in files)


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
