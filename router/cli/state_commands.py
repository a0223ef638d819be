"""``alert-router export`` and ``alert-router import-state``: they move a database between SQLite and PostgreSQL."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from router.cli.shared import Failure, database_option, json_option, now, print_json
from router.package import docs_page

if TYPE_CHECKING:
    from router.store.state_export import ExportedState
    from router.store.state_import import ImportedState

_STANDARD = Path("-")
# Fewer rows take less than some seconds, and show no progress.
_SHOWN_FROM_ROWS = 50_000


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=_STANDARD)
@database_option
@click.option("--force", is_flag=True, help="Replace a file of this name.")
@json_option
def export(*, file: Path, database: str, force: bool, as_json: bool) -> None:
    """Write everything of the database to FILE, or to standard output, for import-state.

    The service can run meanwhile; what it accepts later is not in the file. Only you can read the file, because it
    contains alerts, routing keys and messages.

    Exit code 1 if there is no complete export, or if the ledger in it does not balance.
    """
    from router.store.state_export import export_to_file, export_to_stream

    if file == _STANDARD:
        if as_json:
            raise click.UsageError("--json needs a FILE: standard output gets the export")
        if sys.stdout.isatty():
            raise click.UsageError("give a FILE: an export is no text for a terminal")
    with _failures(), _progress("Exporting") as tick:
        if file == _STANDARD:
            done = export_to_stream(database, sys.stdout.buffer, now(), tick)
        else:
            done = export_to_file(database, file, now(), tick, force=force)
    if as_json:
        print_json({"file": str(file), **asdict(done)})
    else:
        click.echo("\n".join(_exported(file, done)), err=file == _STANDARD)
    if done.ledger["imbalance"]:
        raise Failure(
            f"The ledger in the export is off by {done.ledger['imbalance']:,}, as in the database. The file is complete; "
            "please report this."
        )


@click.command("import-state")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@database_option
@json_option
def import_state(*, file: Path, database: str, as_json: bool) -> None:
    """Fill an empty database from FILE, which export has written; - is standard input. Check every row.

    The database must have no rows, and no service may run on it. Exit code 1 if nothing was imported, if the
    ledger does not balance, or if counters differ from their rows.
    """
    from router.store.state_import import import_state as fill

    with _failures(), _opened(file) as (stream, name), _progress("Importing") as tick:
        done = fill(database, stream, name, now(), tick)
    if as_json:
        print_json(
            {
                "database": done.database, "export": asdict(done.header), "rows": done.rows, "replaced": done.replaced,
                "ledger": done.ledger, "miscounted": done.miscounted.as_json(),
            }
        )  # fmt: skip
    else:
        click.echo("\n".join(_imported(done, name)))
    if done.ledger["imbalance"] or done.miscounted.count:
        raise Failure(
            "The import is complete and equals the file. But the ledger or the counters were already wrong in the exported "
            "database, see above. You can start the service on this database; please report this."
        )


def _exported(file: Path, done: "ExportedState") -> Iterator[str]:
    where = "Exported" if file == _STANDARD else f"{file}: {done.size / 1e6:,.1f} MB"
    yield f"{where}, {_counted(done.rows)}; {_ledger(done.ledger)}."
    if file != _STANDARD:
        yield f"To import it into an empty database: alert-router import-state --database URL {shlex.quote(str(file))}"
    yield "What a router accepts from now on is not in it: to move, stop the service first, and never start it again on the old"
    yield f"database. More about this: {docs_page('howto/move-to-postgresql')}"


def _imported(done: "ImportedState", name: str) -> Iterator[str]:
    at = datetime.fromtimestamp(done.header.at / 1_000, UTC)
    yield (
        f"{done.database} has everything of {name}, which alert-router {done.header.written_by} exported from "
        f"{done.header.database} on {at:%Y-%m-%d at %H:%M} UTC: {_counted(done.rows)}."
    )
    yield "Each row was read again, and is the same as in the file."
    if done.replaced:
        yield f"In {done.replaced:,} rows the character NUL is replaced with U+FFFD: PostgreSQL stores no NUL in texts."
    yield f"The ledger is the same, too: {_ledger(done.ledger)}."
    if done.miscounted.count:
        differ = "COUNTER DIFFERS FROM ITS" if done.miscounted.count == 1 else "COUNTERS DIFFER FROM THEIR"
        yield f"{done.miscounted.count:,} {differ} ROWS: {'; '.join(done.miscounted.first)}"
    else:
        yield "The counters agree with their rows."
    yield ""
    yield "Now start the service with this --database. Do not start it on the old one again: both would notify everybody."


def _counted(rows: dict[str, int]) -> str:
    return f"{sum(rows.values()):,} rows of {len(rows)} tables"


def _ledger(figures: dict[str, int]) -> str:
    balance = "and it balances" if not figures["imbalance"] else f"AND IT IS OFF BY {figures['imbalance']:,}"
    return (
        f"{figures['firing']:,} alert{'' if figures['firing'] == 1 else 's'} firing, {figures['changes']:,} changes with "
        f"{figures['fates']:,} fates, {balance}"
    )


@contextmanager
def _opened(file: Path) -> Iterator[tuple[IO[bytes], str]]:
    if file == _STANDARD:
        yield sys.stdin.buffer, "standard input"
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}; give a file of `alert-router export`") from None
    with stream:
        yield stream, str(file)


@contextmanager
def _failures() -> Iterator[None]:
    from router.store import StoreUnavailable
    from router.store.health import RESUMES

    try:
        yield
    except StoreUnavailable as error:
        raise Failure(str(error).replace(RESUMES, "then run the command again")) from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str, int], None]]:
    """Show on a terminal how many rows are done, if there are many."""
    shown = False

    def tick(table: str, rows: int) -> None:
        nonlocal shown
        if rows >= _SHOWN_FROM_ROWS:
            shown = True
            click.echo(f"\r{what}: {rows:,} rows ({table})\x1b[K", nl=False, err=True)

    try:
        yield tick if sys.stderr.isatty() else (lambda _table, _rows: None)
    finally:
        if shown:
            click.echo(err=True)


COMMANDS = (export, import_state)
