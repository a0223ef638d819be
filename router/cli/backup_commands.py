"""``alert-router backup`` and ``alert-router restore``."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.shared import Failure, database_option, json_option, now, print_json
from router.package import docs_page

if TYPE_CHECKING:
    from router.store.backup_file import CheckedCopy, CopyProgress
    from router.store.restore import RestoredDatabase

# Smaller copies take less than a second, and show no progress.
_SHOWN_FROM_BYTES = 200 * 10**6
_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@_file
@database_option
@click.option("--force", is_flag=True, help="Replace a file of this name.")
@json_option
def backup(*, file: Path, database: str, force: bool, as_json: bool) -> None:
    """Write a backup of the database to FILE, and check it. The service can run meanwhile.

    Only you can read the file, because it contains alerts, routing keys and messages. For PostgreSQL, use pg_dump.

    Exit code 1 if there is no backup, or if the ledger in it does not balance.
    """
    from router.store.backup_file import write_backup

    with _failures(), _progress("Copying") as progress:
        found = write_backup(database, file, force=force, progress=progress)
    if as_json:
        print_json({"file": str(file), **asdict(found)})
    else:
        click.echo(f"{file}: {_contents(found)}")
        click.echo(f"To put it in place: alert-router restore {shlex.quote(str(file))}")
    if found.imbalance:
        raise Failure(
            f"The ledger in the backup is off by {found.imbalance}, as in the database. The file is complete; please report this."
        )


@click.command()
@_file
@database_option
@json_option
def restore(*, file: Path, database: str, as_json: bool) -> None:
    """Check the backup FILE, and put a copy of it in the place of the database. Stop the service first.

    The previous database is kept under another name in the same folder. For PostgreSQL, use pg_restore.

    Exit code 1 if nothing was restored.
    """
    from router.store.restore import restore_backup

    with _failures(), _progress("Copying") as progress:
        done = restore_backup(database, file, now(), progress)
    if as_json:
        before = None if done.before is None else str(done.before)
        print_json({"database": str(done.path), "before": before, **asdict(done.found)})
    else:
        click.echo("\n".join(_what_now(done, file)))


def _what_now(done: "RestoredDatabase", file: Path) -> Iterator[str]:
    yield f"{done.path} is restored from {file}: {_contents(done.found)}"
    if done.before is not None:
        yield f"The previous database is kept as {done.before}. Delete it when you no longer need it."
    yield ""
    yield "What the router accepted after the backup is not in it:"
    yield "- Alertmanager sends again what still fires, at the latest after its repeat_interval (4 h unless it is set)."
    yield "- The router does not know an alert that fired after the backup and has ended. It notifies nobody of it any more."
    yield "- A PagerDuty incident or a message of an alert that fired after the backup stays open: resolve it by hand."
    yield f"More about this: {docs_page('backup')}"
    yield "Now start the service: alert-router serve"


def _contents(found: "CheckedCopy") -> str:
    """Return what a copy has, in words."""
    size = f"{found.size / 1e6:,.1f} MB"
    if found.imbalance is None:
        return f"{size}, undamaged. Its tables are of an older version ({found.revision}), so its ledger was not checked."
    lasted = (
        "the router never ran on it"
        if found.alive_at is None
        else f"the router ran until {datetime.fromtimestamp(found.alive_at / 1_000, UTC):%Y-%m-%d %H:%M} UTC"
    )
    alerts = f"{found.firing:,} alert{'' if found.firing == 1 else 's'} firing"
    balance = "the ledger balances" if not found.imbalance else f"THE LEDGER IS OFF BY {found.imbalance:,}"
    return f"{size}, undamaged; {lasted}; {alerts}; {found.changes:,} changes, and {balance}."


@contextmanager
def _failures() -> Iterator[None]:
    from router.store import StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        raise Failure(str(error)) from None


@contextmanager
def _progress(what: str) -> Iterator["CopyProgress"]:
    """Show on a terminal how far the copying is, if that takes a while."""
    from router.store.backup_file import CopyProgress

    shown = ""

    def tick(copied: int, size: int) -> None:
        nonlocal shown
        text = f"{what}: {100 * copied // max(1, size)} % of {size / 1e6:,.0f} MB"
        if size >= _SHOWN_FROM_BYTES and text != shown:
            shown = text
            click.echo(f"\r{text} ", nl=copied == size, err=True)

    ticked: Callable[[int, int], None] = tick if sys.stderr.isatty() else (lambda _copied, _size: None)
    yield CopyProgress(ticked)


COMMANDS = (backup, restore)
