"""Refuses a configuration that would let every machine of the network read and do everything."""

from pathlib import Path

import structlog

from router.config import Config, ConfigError, Problem
from router.model import AccessSettings
from router.web.access.peers import AccessOptions

log = structlog.get_logger(__name__)

OPEN_TROUBLE = (
    "Everybody who reaches this router can read and do everything: --open is set and there are no users"
)
_TODO = """add `users:` to it, for example
      users:
        - {name: alice, role: admin, password_hash: "…"}   # of `alert-router hash-password`
    or listen on this machine only (--listen 127.0.0.1:9099), or start with --open to let everybody in"""


def check_exposure(config: Config, path: Path, options: AccessOptions) -> None:
    """Check that a router that other machines can reach has users, unless its operator opened it to everybody.

    :param path: of the main file, for the message
    :raises ConfigError: it has none
    """
    if options.is_loopback_only or options.is_open or config.access.needs_credentials:
        return
    what = (
        f"the router listens on {options.host}, which other machines can reach, and there are no users, so everybody could "
        "read all alerts and discard notifications"
    )
    raise ConfigError([Problem(str(path), 1, 1, what, _TODO)])


def is_open_to_all(settings: AccessSettings, options: AccessOptions) -> bool:
    """Return whether everybody who reaches the router is an administrator."""
    return options.is_open and not settings.needs_credentials


def warn_if_open(settings: AccessSettings, options: AccessOptions) -> None:
    """Log that the router is open to everybody, if it is."""
    if is_open_to_all(settings, options):
        log.warning(
            "the router is open to everybody", listen=options.host,
            todo="whoever reaches it can read all alerts, discard notifications and load the rules again; "
            "add `users:` to routes.yaml, and start without --open",
        )  # fmt: skip
