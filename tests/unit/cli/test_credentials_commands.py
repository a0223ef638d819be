"""``hash-password`` and ``new-token`` make credentials that the router accepts."""

import hashlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from tests.unit.cli.commands import GOOD, run


@pytest.mark.parametrize("password", ["correct horse", "pässwörd", "x" * 72, " with spaces ", "a:b'\"$HOME"])
def test_a_password_of_standard_input_is_hashed(password: str) -> None:
    result = run("hash-password", "--json", given=f"{password}\n")
    assert result.exit_code == 0
    hashed = json.loads(result.stdout)["password_hash"]
    assert hashed.startswith("$2b$12$")
    assert bcrypt.checkpw(password.encode(), hashed.encode())


def test_only_the_hash_is_on_standard_output() -> None:
    result = run("hash-password", given="secret-password")
    assert len(result.stdout.splitlines()) == 1
    assert "secret-password" not in result.output
    assert "users:" in result.stderr


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("   \n", "empty"),
        ("secret-1\nsecret-2\n", "several lines"),
        ("secret-" + "x" * 66, "73 bytes"),
        ("ä" * 37, "74 bytes"),
        ("secret-\x07", "control character"),
    ],
)
def test_a_password_that_can_not_be_used_is_refused_with_the_reason(given: str, why: str) -> None:
    result = run("hash-password", given=given)
    assert result.exit_code == 1
    assert why in result.output
    assert "secret-" not in result.output


def test_a_terminal_asks_twice_and_shows_nothing() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "router", "hash-password"], stdin=slave, stdout=subprocess.PIPE, stderr=slave,
        start_new_session=True, preexec_fn=_take_terminal,  # noqa: PLW1509  (only this way it has a terminal to ask on)
    )  # fmt: skip
    os.close(slave)
    shown = b""
    for prompt in (b"Password: ", b"The same again: "):
        while prompt not in shown:
            shown += os.read(master, 1024)
        os.write(master, b"secret-password\n")
    out, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert b"secret-password" not in shown
    assert bcrypt.checkpw(b"secret-password", out.strip())


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_token_is_random_and_its_hash_is_usable(tmp_path: Path) -> None:
    made = [json.loads(run("new-token", "--json").stdout) for _ in range(3)]
    assert len({each["token"] for each in made}) == 3
    for each in made:
        assert each["token"].startswith("alert_router_")
        assert len(each["token"]) >= len("alert_router_") + 43  # 256 bits in base64
        assert each["token_hash"] == f"sha256:{hashlib.sha256(each['token'].encode()).hexdigest()}"
    text = run("new-token").stdout
    assert "routes.yaml" in text
    rules = tmp_path / "routes.yaml"
    rules.write_text(f"{GOOD}users: [{{name: a, role: view, tokens: ['{made[0]['token_hash']}']}}]\n")
    assert "users" not in run("check", "--config", str(rules)).output
    rules.write_text(f"{GOOD}users: [{{name: a, role: view, tokens: ['{made[0]['token']}']}}]\n")
    refused = run("check", "--config", str(rules)).output
    assert "perhaps the token itself" in refused
    assert made[0]["token"] not in refused
