"""``alert-router ledger``, beside a service that has the database open."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.model import DAY, Alert, Retention, Status, Webhook
from router.store import Store
from tests.database import change, rows
from tests.unit.web.harness import POLICY

NOON = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
BALANCED = """\
from the beginning until now
webhooks: 2 accepted, 1 quarantined
changes: 1 fired, 1 resolved, 0 repeated

destination      changes = delivered + pending + held + inhibited + digest + obsolete + dropped + dead
slack:C0WARNINGS       2 =         0 +       0 +    0 +         0 +      0 +        2 +       0 +    0
all                    2 =         0 +       0 +    0 +         0 +      0 +        2 +       0 +    0

balanced
"""


def ledger(folder: Path, *options: str) -> Result:
    arguments = ["ledger", "--database", f"sqlite:///{folder}/router.db", *options]
    return CliRunner().invoke(main, arguments)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store in which an alert fired, and ended before any destination was notified."""
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    for status in Status:
        webhook = Webhook("r", "g", {}, "", 0, (Alert("f", {"alertname": "A"}, {}, status),))
        await store.accept(webhook, "prod", b"{}", POLICY, NOON)
    await store.quarantine(b"?", "prod", "not JSON", NOON)
    yield store
    await store.close()


async def test_the_equation_is_written_out(store: Store, tmp_path: Path) -> None:
    result = ledger(tmp_path)
    assert (result.output, result.exit_code) == (BALANCED, 0)


async def test_pruning_changes_nothing_but_leaves_only_whole_days(store: Store, tmp_path: Path) -> None:
    day = ["--since", "2026-11-21", "--until", "2026-11-22"]
    before = ledger(tmp_path, *day, "--json").output
    part = ["--since", "2026-11-21 11:00", "--until", "2026-11-21 12:00"]
    assert json.loads(ledger(tmp_path, *part, "--json").output)["changes"]["fired"] == 0
    assert sum([count async for count in store.prune(Retention(), NOON + 31 * DAY)]) > 0
    assert ledger(tmp_path).output == BALANCED
    assert ledger(tmp_path, *day, "--json").output == before
    first, *_ = ledger(tmp_path, *part).output.splitlines()
    assert first == "from Sat 21 Nov 2026 until Sun 22 Nov 2026, UTC (whole days: the rest is pruned)"


async def test_an_unbalanced_ledger_fails_and_names_the_changes(store: Store, tmp_path: Path) -> None:
    database = tmp_path / "router.db"
    ((wrong,),) = rows(database, "SELECT max(id) FROM changes")
    change(database, "UPDATE changes SET destinations = 3 WHERE id = :id", id=wrong)
    result = ledger(tmp_path)
    assert result.exit_code == 1
    assert result.output.endswith(f"NOT BALANCED, off by 2: look at the changes {wrong}\n")
    assert "all                    4 ≠ " in result.output


async def test_attempts_are_listed_by_outcome(store: Store, tmp_path: Path) -> None:
    change(
        tmp_path / "router.db",
        "INSERT INTO deliveries (conversation_id, destination, generation, attempt, started_at, finished_at, outcome,"
        " reason) SELECT id, destination, 1, 1, :noon, :noon, 'retry', 'http 503' FROM conversations",
        noon=NOON,
    )
    assert "deliveries       retry\nslack:C0WARNINGS     1\n" in ledger(tmp_path).output


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--since", "soon"], 2, "'soon' is not a time; write it like '2026-11-20 22:41'"),
        (
            ["--since", "2026-11-21", "--until", "2026-11-21"],
            1,
            "--since is not before --until; exchange them",
        ),
        ([], 1, "unable to open database file"),
    ],
)
def test_wrong_options_are_refused_with_words(
    tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    result = ledger(tmp_path, *options)
    assert (result.exit_code, words in result.output) == (code, True)


def test_a_database_of_another_version_is_refused_with_words(tmp_path: Path) -> None:
    change(tmp_path / "router.db", "PRAGMA user_version")
    assert "`alert-router serve` makes them, or updates older ones" in ledger(tmp_path).output
