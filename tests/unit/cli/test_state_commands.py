"""``alert-router export`` and ``import-state``: what they print, and their exit codes."""

import json
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner

from router.cli import main, state_commands
from router.store import Store, state_file
from tests.database import change
from tests.unit.cli.commands import run
from tests.unit.store.test_backup_file import bodies


@pytest.fixture
async def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/old.db"
    store = await Store.open(url)
    await store.start(1)
    for number in range(5):
        await store.quarantine(b"x", "default", f"reason {number}", 1)
    await store.close()
    return url


def test_an_export_says_what_it_has_and_what_to_do_next(database: str, tmp_path: Path) -> None:
    file = tmp_path / "a file.gz"
    done = run("export", str(file), "--database", database)
    assert done.exit_code == 0, done.output
    assert f"{file}: 0.0 MB, " in done.stdout
    assert "0 alerts firing, 0 changes with 0 fates, and it balances.\n" in done.stdout
    assert f"alert-router import-state --database URL '{file}'\n" in done.stdout
    assert "stop the service first" in done.stdout
    again = run("export", str(file), "--database", database)
    assert (again.exit_code, "exists; give another file, or --force" in again.stderr) == (1, True)
    assert run("export", str(file), "--database", database, "--force").exit_code == 0


def test_an_import_says_what_it_has_checked(database: str, tmp_path: Path) -> None:
    file, new = tmp_path / "file.gz", tmp_path / "new.db"
    written = json.loads(run("export", str(file), "--database", database, "--json").stdout)
    assert (written["rows"]["webhooks"], written["ledger"]["imbalance"]) == (5, 0)
    assert written["size"] == file.stat().st_size
    done = run("import-state", str(file), "--database", f"sqlite:///{new}")
    assert done.exit_code == 0, done.output
    assert f"{new} has everything of {file}, which alert-router " in done.stdout
    assert "Each row was read again, and is the same as in the file.\n" in done.stdout
    assert "The counters agree with their rows.\n" in done.stdout
    assert "Do not start it on the old one again" in done.stdout
    assert bodies(new) == 5
    again = run("import-state", str(file), "--database", f"sqlite:///{new}")
    assert (again.exit_code, "is not empty: the table" in again.stderr) == (1, True)
    gone = run("import-state", str(tmp_path / "none.gz"), "--database", f"sqlite:///{new}")
    assert (gone.exit_code, "none.gz: No such file or directory; give a file of" in gone.stderr) == (1, True)


def test_an_export_goes_through_a_pipe(database: str, tmp_path: Path) -> None:
    piped = run("export", "--database", database)
    assert piped.exit_code == 0
    assert "Exported, " in piped.stderr
    new = tmp_path / "new.db"
    done = CliRunner().invoke(
        main, ["import-state", "-", "--database", f"sqlite:///{new}", "--json"], input=piped.stdout_bytes
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["database"], found["replaced"], found["miscounted"]["count"]) == (str(new), 0, 0)
    assert found["export"]["database"] == "sqlite"
    assert run("export", "--json", "--database", database).exit_code == 2


def test_a_ledger_that_is_off_moves_and_is_reported(database: str, tmp_path: Path) -> None:
    change(
        tmp_path / "old.db",
        "INSERT INTO counters (what, destination, value, count) VALUES ('owed', '', '', 3)",
    )
    file, new = tmp_path / "file.gz", tmp_path / "new.db"
    done = run("export", str(file), "--database", database)
    assert (done.exit_code, "The ledger in the export is off by 3, as in the database." in done.stderr) == (
        1,
        True,
    )
    done = run("import-state", str(file), "--database", f"sqlite:///{new}")
    assert done.exit_code == 1
    assert "AND IT IS OFF BY 3" in done.stdout
    assert "1 COUNTER DIFFERS FROM ITS ROWS: owed: counted 3, added up 0" in done.stdout
    assert "the ledger or the counters were already wrong in the exported database" in done.stderr
    assert bodies(new) == 5


def test_progress_is_shown_on_a_terminal_only(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_file, "_ROWS_PER_TICK", 2)
    monkeypatch.setattr(state_commands, "_SHOWN_FROM_ROWS", 4)
    assert "Exporting" not in run("export", str(tmp_path / "a.gz"), "--database", database).output
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _stream: True, raising=False)
    shown = run("export", str(tmp_path / "b.gz"), "--database", database).stderr
    assert "\rExporting: 4 rows (" in shown
    assert "\rExporting: 2 rows (" not in shown
