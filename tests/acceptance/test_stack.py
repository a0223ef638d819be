"""The stack of deploy/compose without containers: an alert goes from Prometheus to a mail, and the script checks it."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.hand_made_stack import hand_made_stack, needs_programs, prepared, run
from tests.acceptance.processes import ROOT, until


@needs_programs
async def test_validate_follows_a_test_alert_through_the_stack(folder: Path) -> None:
    async with hand_made_stack(folder) as stack:
        code, printed, errors = await stack.validate()
        assert (code, errors) == (0, ""), printed
        steps = [line.partition(". ")[2].rpartition(" (")[0] for line in printed.splitlines()[:-1]]
        assert steps == [
            "the router can keep webhooks",
            "the router accepts the token",
            "Alertmanager is ready",
            "Prometheus is ready",
            "Prometheus scrapes the router",
            "blackbox exporter is ready",
            "the mail catcher is ready",
            steps[7],
            "Alertmanager posts it to the router",
            "its message is in the mail catcher",
            "Alertmanager takes the end of the alert",
            "the router knows that it ended",
            "the message about its end is in the mail catcher",
        ]
        assert steps[7].startswith("Alertmanager takes a test alert (v")
        assert printed.endswith("The stack works.\n")

        # Every job scrapes under the name that it has in the stack; these three have no program here.
        own = {
            "alert-router", "alertmanager", "blackbox-exporter", "blackbox-http", "blackbox-tcp", "node", "prometheus",
        }  # fmt: skip
        expected = {name: name in own for name in {*own, "alloy", "grafana", "loki"}}

        async def all_are_scraped() -> bool:
            return await stack.jobs() == expected

        await until(all_are_scraped, "Prometheus has scraped all jobs")

        # The second alert joins no group of the first: the API of deliveries says that it was delivered.
        code, printed, errors = await stack.validate(MAILPIT="", PROMETHEUS="", BLACKBOX="")
        assert (code, errors) == (0, ""), printed
        assert "its message is delivered" in printed

        code, printed, errors = await stack.validate(ALERTMANAGER="http://127.0.0.1:1", SECONDS_PER_STEP="0")
        assert code == 1
        assert errors.startswith("FAILED  3. Alertmanager is ready (waited 0 s)\n        curl: (7) ")
        assert errors.endswith("        Look at: docker compose logs alertmanager\n")

        (stack.compose / "secrets" / "alert_router_scrape_token").write_text("another")
        code, printed, errors = await stack.validate(SECONDS_PER_STEP="0")
        assert code == 1
        assert "FAILED  2. the router accepts the token" in errors
        assert "401" in errors


async def test_prepare_makes_secrets_once_and_keeps_them(tmp_path: Path) -> None:
    compose = await prepared(tmp_path)
    made = {path.name: path.read_text() for path in (compose / "secrets").iterdir()}
    assert set(made) == {
        "admin_password", "admin_password_hash", "alert_router_scrape_token", "alert_router_scrape_token_hash",
        "alert_router_webhook_token", "grafana_admin_password", "postgres_password", "postgres_service",
    }  # fmt: skip
    assert all(made.values())
    assert len(set(made.values())) == len(made)
    assert (compose / "secrets").stat().st_mode & 0o777 == 0o700
    assert f"password={made['postgres_password']}\n" in made["postgres_service"]
    assert (compose / ".env").read_text() == (compose / ".env.example").read_text()
    catching = (compose / "state" / "alertmanager.yml").read_text()
    assert "smtp_smarthost: mailpit:1025\n" in catching
    assert not list((compose / "targets").glob("others-postgresql.yml"))

    (compose / ".env").write_text(
        "COMPOSE_PROFILES=postgresql\nALERT_ROUTER_DATABASE=postgresql:///?service=router\n"
    )
    (compose / "state" / "alertmanager.yml").write_text("mine")
    code, _, errors = await run(compose / "prepare", HASH_PASSWORD="false")
    assert (code, errors) == (0, "")
    assert {path.name: path.read_text() for path in (compose / "secrets").iterdir()} == made
    assert (compose / "state" / "alertmanager.yml").read_text() == "mine"
    assert "postgres-exporter:9187" in (compose / "targets" / "others-postgresql.yml").read_text()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            "COMPOSE_PROFILES=both\n",
            "COMPOSE_PROFILES in .env is 'both'; it has to be empty, postgresql, or postgresql,replicas",
        ),
        (
            "COMPOSE_PROFILES=postgresql\n",
            ".env starts PostgreSQL, but ALERT_ROUTER_DATABASE does not name it",
        ),
        (
            "ALERT_ROUTER_DATABASE=postgresql:///?service=router\nALERT_ROUTER_BACKUP_TO=/var/backups/alert-router\n",
            "ALERT_ROUTER_BACKUP_TO in .env has to be empty: PostgreSQL has pg_dump for backups",
        ),
    ],
)
async def test_settings_that_do_not_fit_are_named(tmp_path: Path, settings: str, words: str) -> None:
    compose = await prepared(tmp_path)
    (compose / ".env").write_text(settings)
    code, _, errors = await run(compose / "prepare")
    assert (code, errors) == (1, f"prepare: {words}\n")


# A stand-in for the engine's program: it notes its arguments, and prints a hash where the router's image would.
_DOCKER = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  *hash-password) cat > /dev/null; echo a-hash ;;
esac
"""


@pytest.mark.parametrize("profile", ["", "postgresql", "postgresql,replicas"])
async def test_start_builds_prepares_and_waits(tmp_path: Path, profile: str) -> None:
    await asyncio.to_thread(shutil.copytree, ROOT / "deploy", tmp_path / "deploy")
    compose, program, calls = tmp_path / "deploy" / "compose", tmp_path / "bin" / "docker", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(_DOCKER)
    program.chmod(0o755)
    database = "postgresql:///?service=router" if profile else ""
    (compose / ".env").write_text(
        f"COMPOSE_PROFILES={profile}\nALERT_ROUTER_DATABASE={database}\nALERT_ROUTER_VERSION=7\nBIND_ADDRESS=10.0.0.7\n"
    )
    environ = {"PATH": f"{program.parent}:{os.environ['PATH']}", "CALLS": str(calls)}
    code, printed, errors = await run(compose / "start", "--quiet-pull", **environ)
    assert (code, errors) == (0, "")
    assert "http://10.0.0.7:9099" in printed
    assert ("http://10.0.0.7:9080" in printed) == ("replicas" in profile)
    assert calls.read_text().splitlines() == [
        "compose version",
        "compose build",
        "run --rm --interactive --network none --read-only alert-router:7 hash-password",
        *(["compose up --detach --wait postgres"] if profile else []),
        "compose up --detach --wait --remove-orphans --quiet-pull",
    ]
    assert (compose / "secrets" / "admin_password_hash").read_text() == "a-hash\n"

    calls.unlink()
    code, _, errors = await run(compose / "start", **environ)
    assert (code, errors) == (0, "")
    assert "hash-password" not in calls.read_text()
    code, _, errors = await run(compose / "stop", "--volumes", **environ)
    assert (code, errors) == (0, "")
    assert calls.read_text().endswith(
        "compose --profile postgresql --profile replicas down --remove-orphans --volumes\n"
    )


@pytest.mark.parametrize("name", ["start", "stop", "prepare", "validate"])
def test_the_scripts_can_be_run(name: str) -> None:
    assert (ROOT / "deploy" / "compose" / name).stat().st_mode & 0o111 == 0o111
