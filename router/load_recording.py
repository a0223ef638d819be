"""Records loads of the configuration: in the history, and why one failed, in the log and for the pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import structlog

from router.clock import Clock
from router.config import Config, ConfigError
from router.load_status import LoadStatus, ReloadError
from router.render import TemplateError
from router.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)


class LoadRecording:
    """Records each load of the configuration, and each failure."""

    def __init__(self, status: LoadStatus, store: Store, clock: Clock) -> None:
        self._status = status
        self._store = store
        self._clock = clock
        self._recorded: tuple[str, str] | None = None
        """The hash and the error of the last load in the history, if this process wrote it."""

    def forget(self) -> None:
        """Another replica has put rules in force, so the last load in the history is not that of this process."""
        self._recorded = None

    @asynccontextmanager
    async def failures_shown(self, actor: str, *, only_secrets: bool) -> AsyncIterator[None]:
        """Log, show and store why a configuration can't be put in force.

        :raises ReloadError: the block raised any exception; the text says why, for people
        """
        try:
            yield
        except ReloadError:
            raise
        except (ConfigError, TemplateError, StoreUnavailable) as error:
            shown = error.shown if isinstance(error, ConfigError) else str(error)
            self._status.failed(shown, only_secrets=only_secrets)
            await self.record(actor, error=shown)
            raise ReloadError(shown) from error
        except Exception as error:
            shown = f"internal: {type(error).__name__}; the log says more"
            if not only_secrets or self._status.error != shown:  # the secrets are tried again and again
                log.exception("reload failed unexpectedly")
            self._status.failed(shown, only_secrets=only_secrets)
            await self.record(actor, error=shown)
            raise ReloadError(shown) from error

    async def record(self, actor: str, config: Config | None = None, error: str = "") -> None:
        """Store in the history that a configuration came into force, or why none did. The history may miss a load, but no
        load fails because of it.
        """
        sha256 = "" if config is None else config.digest
        if self._recorded == (sha256, error):  # the secrets are tried again and again
            return
        files = [asdict(each) for each in (() if config is None else config.shown)]
        try:
            await self._store.loads.record(actor, sha256, files, self._clock.now(), error)
            self._recorded = (sha256, error)
        except Exception as failure:  # noqa: BLE001  (what was loaded is in force all the same)
            log.warning("a load of routes.yaml could not be stored in the history", reason=str(failure))
