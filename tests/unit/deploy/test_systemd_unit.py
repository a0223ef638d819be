"""deploy/systemd: systemd accepts the unit, its exposure is small, and its settings are those of the router."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from router.cli import main
from router.cli.environment import known_variables
from router.cli.running import serve
from router.config import load
from tests.acceptance.processes import ROOT
from tests.unit.cli.commands import GOOD
from tests.unit.docs.pages import section

UNIT = ROOT / "deploy" / "systemd" / "alert-router.service"
ANALYZE = shutil.which("systemd-analyze")
# Tenths. The unit has 1.1; a service without any confinement has 9.6.
MAX_EXPOSURE = 15
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze: apt-get install systemd")


def _settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)", UNIT.read_text(), re.MULTILINE)


@needs_systemd
def test_the_exposure_of_the_unit_is_small() -> None:
    command = [
        str(ANALYZE), "security", "--offline=true", "--no-pager", f"--threshold={MAX_EXPOSURE}", str(UNIT),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    command[4] = "--threshold=1"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


@needs_systemd
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    file = tmp_path / UNIT.name
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # Only the program is another: this machine may have none at that path.
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={program}", UNIT.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    command = [str(ANALYZE), "verify", "--recursive-errors=no", str(file)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_variables_of_the_unit_are_those_of_the_router() -> None:
    known = set(known_variables(main, "ALERT_ROUTER"))
    names = [each.partition("=")[0] for each in _settings("Environment")]
    assert {each for each in names if each.startswith("ALERT_ROUTER_")} <= known
    assert "ALERT_ROUTER_BACKUP_TO=/var/lib/alert-router/backups" in _settings("Environment")
    assert _settings("StateDirectory") == ["alert-router"]
    assert _settings("ExecStart") == ["/opt/alert-router/bin/alert-router serve"]


def test_a_stop_may_take_longer_than_the_router_takes() -> None:
    drain = next(each.default for each in serve.params if each.name == "drain")
    assert isinstance(drain, float)
    assert _settings("TimeoutStopSec") == ["30"]
    assert drain * 2 < 30


def _examples(language: str) -> list[str]:
    """Return the examples of the section about several hosts, without the indentation of their list."""
    text = section("docs/deploying.md", "On several hosts")
    found = re.findall(rf"^   ```{language}\n(.*?)^   ```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^   ", "", each, flags=re.MULTILINE) for each in found]


def test_the_settings_for_several_hosts_are_those_of_the_unit() -> None:
    (example,) = _examples("sh")
    settings = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert set(settings) - set(known_variables(main, "ALERT_ROUTER")) == {"PGSERVICEFILE"}
    (credential,) = _settings("LoadCredential")
    name, _, folder = credential.partition(":")
    # https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#LoadCredential=ID:PATH
    assert settings["PGSERVICEFILE"] == f"/run/credentials/{UNIT.name}/{name}_postgres_service"
    assert f"`{folder}/postgres_service`" in section("docs/deploying.md", "On several hosts")
    (service,) = _examples("ini")
    assert service.startswith(f"[{settings['ALERT_ROUTER_DATABASE'].rpartition('=')[2]}]\n")


def test_the_users_for_several_hosts_can_be_loaded(tmp_path: Path) -> None:
    (example,) = _examples("yaml")
    secrets = {
        "alice": "$2b$12$" + "a" * 53, "scrape_token_hash": "sha256:" + "0" * 64, "webhook": "x" * 30,
    }  # fmt: skip
    for name, value in secrets.items():
        (tmp_path / f"secrets_{name}").write_text(value)
    file = tmp_path / "routes.yaml"
    file.write_text(example + GOOD)
    config = load(file, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}, now=0)
    assert config.access.needs_credentials
