"""The image without a container engine: its steps build an environment, which runs as the container would."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.acceptance.processes import free_port, until
from tests.unit.cli.commands import GOOD
from tests.unit.deploy.sent_files import sent_files

BWRAP = shutil.which("bwrap")
pytestmark = [
    pytest.mark.skipif(BWRAP is None, reason="needs bwrap: apt-get install bubblewrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a program as another user"),
]
_USER = "10001"


def _environment(folder: Path) -> Path:
    """Run the second step of deploy/image/install on what the engine is sent. :returns: the environment

    The dependencies are those of the tests, which contain the image's: to install them again takes a minute, and a registry.
    """
    sent, made = sent_files(folder), folder / "environment"
    venv.create(made, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(made), "platbase": str(made)}))
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # The build tools belong to the tests, so this step has none to remove.
    script = sent / "deploy" / "image" / "install"
    script.write_text(re.sub("(?m)^build_tools=.*", "build_tools=not-installed", script.read_text()))
    ran = subprocess.run([script, "router", made], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (made / "bin" / "alert-router").is_file()
    assert (packages / "router" / "routes.yaml").is_file()
    return made


class Container:
    """Runs programs like a container: a read-only root, one writable folder, another user, no capabilities."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.state, self.rules = folder / "state", folder / "rules"
        self.state.mkdir()
        self.rules.mkdir()
        os.chown(self.state, int(_USER), int(_USER))
        self._environment = environment
        self.port = free_port()

    def command(self, *program: str, **environ: str) -> list[str]:
        """Return the command that runs a program in it. :param environ: variables"""
        base = Path(sys.base_prefix)
        shown = [self._environment, Path(sysconfig.get_path("purelib"))]
        if not base.is_relative_to("/usr"):
            shown.append(base)
        parents = {parent for path in shown for parent in path.parents}
        places: list[str] = []
        for parent in sorted(parents | {Path("/var"), Path("/var/lib"), Path("/etc")}):
            places += ["--perms", "0755", "--dir", str(parent)]
        for path in shown:
            places += ["--ro-bind", str(path), str(path)]
        variables: list[str] = []
        for name, value in {
            "PATH": f"{self._environment}/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(base / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ALERT_ROUTER_CONFIG": "/etc/alert-router/routes.yaml",
            "ALERT_ROUTER_DATABASE": "sqlite:////var/lib/alert-router/router.db",
            "ALERT_ROUTER_LISTEN": f"0.0.0.0:{self.port}",
            **environ,
        }.items():
            variables += ["--setenv", name, value]
        return [
            str(BWRAP), "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
            "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", *places,
            "--ro-bind", str(self.rules), "/etc/alert-router", "--bind", str(self.state), "/var/lib/alert-router",
            "--remount-ro", "/", "--chdir", "/var/lib/alert-router",
            "--clearenv", *variables, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP",
            "setpriv", "--reuid", _USER, "--regid", _USER, "--clear-groups", "--no-new-privs", "--bounding-set=-all",
            "--inh-caps=-all", *program,
        ]  # fmt: skip

    def run(self, *program: str, **environ: str) -> tuple[int, str]:
        """Run a program to its end. :returns: its exit code and its output"""
        command = self.command(*program, **environ)
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return ran.returncode, ran.stdout


async def test_the_router_of_the_image_runs_confined_and_stops(folder: Path) -> None:
    container = Container(folder, await asyncio.to_thread(_environment, folder))
    (container.rules / "routes.yaml").write_text(GOOD)

    code, printed = await asyncio.to_thread(
        container.run, "sh", "-c", "id -u; touch /x; touch /etc/alert-router/x; grep CapBnd /proc/self/status"
    )
    assert code == 0, printed
    assert printed.startswith(f"{_USER}\n")
    assert printed.count("Read-only file system") == 2
    assert printed.endswith("CapBnd:\t0000000000000000\n")

    code, printed = await asyncio.to_thread(container.run, "alert-router", "serve")
    assert code == 1, printed
    assert "which other machines can reach, and there are no users" in printed
    code, printed = await asyncio.to_thread(container.run, "alert-router", "healthcheck")
    assert (code, printed) == (1, f"127.0.0.1:{container.port} does not answer: Connection refused\n")

    log = folder / "log"
    receiving, sending = os.pipe()
    confining, *command = container.command("alert-router", "serve", ALERT_ROUTER_OPEN="1")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            confining, "--info-fd", str(sending), *command, pass_fds=[sending], stdout=output, stderr=output
        )  # fmt: skip
    os.close(sending)
    with os.fdopen(receiving) as facts:
        pid = json.loads(await asyncio.to_thread(facts.read))["child-pid"]

    async def is_ready() -> bool:
        assert process.returncode is None, log.read_text()
        return (await asyncio.to_thread(container.run, "alert-router", "healthcheck", "--ready"))[0] == 0

    try:
        await until(is_ready, "the router is ready")
        assert (container.state / "router.db").stat().st_uid == int(_USER)
        os.kill(pid, 15)
        assert await process.wait() == 0
        assert '"action": "stopped"' in log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
