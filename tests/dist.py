"""Builds the sdist and the wheel, and tries the wheel in an empty environment: ``python -m tests.dist``.

With ``--try`` the wheel is also installed with its locked dependencies, which needs a package registry.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
_INIT = ("init", "--channel", "slack", "--slack-channel", "C0ALERTS", "--channel", "pagerduty")


def build(source: Path, target: str, out: Path) -> Path:
    """Build the ``sdist`` or the ``wheel`` of a source tree, with the locked build tool. Return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (file,) = out.glob("*.tar.gz" if target == "sdist" else "*.whl")
    return file


def unpacked(sdist: Path, into: Path) -> Path:
    """Unpack an sdist. Return the folder with its pyproject.toml."""
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 or newer has it
        archive.extractall(into)
    (folder,) = into.iterdir()
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def new_environment(folder: Path, wheel: Path, *pip: str) -> Path:
    """Create an empty environment, and install the wheel there without its dependencies. Return its folder of programs.

    :param pip: the arguments of a ``pip install`` before that
    """
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    for arguments in (pip, ("--no-deps", "--no-index", str(wheel))):
        if arguments:
            command = [
                str(programs / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                *arguments,
            ]
            subprocess.run(command, check=True, cwd=folder)
    return programs


def try_wheel(programs: Path, folder: Path) -> None:
    """Run an installed router in an empty folder, as a newcomer does. :raises AssertionError: something does not work"""
    environ = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = str(programs / "alert-router")

    def run(*arguments: str) -> str:
        done = subprocess.run([command, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    assert run("--version").strip().startswith("alert-router, version ")
    assert "SLACK_BOT_TOKEN" in run(*_INIT)
    run("check")
    where = [line for line in run("docs").splitlines() if line.startswith("The folder: ")]
    assert where
    assert Path(where[0].removeprefix("The folder: ")).is_relative_to(programs.parent), where
    assert run("docs", "configuration").startswith("# Configuration")
    _try_preview(command, folder, environ)
    assert [path.name for path in folder.iterdir()] == ["routes.yaml"]


def _try_preview(command: str, folder: Path, environ: Mapping[str, str]) -> None:
    given = [command, "serve", "--preview", "--sample", "--listen", "0"]
    with subprocess.Popen(given, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            url = re.search(r"http://[\d.:]+\d", said)
            assert url is not None, f"it does not start: {said}{process.stdout.read()}"
            for path, words in (
                ("/", b"Messages"), ("/now", b"<html"), ("/pages/style.css", b"{"), ("/metrics", b"alert_router_build_info"),
                ("/api/v1/openapi.json", b"openapi"), ("/api/v1/overview", b"version"),
            ):  # fmt: skip
                with urllib.request.urlopen(f"{url[0]}{path}") as answer:
                    found = answer.read()
                assert words in found, f"{path}: {found[:200]!r}"
        finally:
            process.terminate()
        assert process.wait() == 0, process.stdout.read()


def main(arguments: list[str]) -> None:
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    sdist = build(ROOT, "sdist", out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = shutil.copy(build(unpacked(sdist, folder / "source"), "wheel", folder / "wheel"), out)
        for file in (sdist, Path(wheel)):
            sys.stdout.write(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(ROOT)}\n")
        if "--try" in arguments:
            locked = ("--require-hashes", "--requirement", str(ROOT / "requirements" / "run.txt"))
            programs = new_environment(folder / "environment", Path(wheel), *locked)
            (folder / "empty").mkdir()
            try_wheel(programs, folder / "empty")
            sys.stdout.write("The wheel works in an empty environment.\n")


if __name__ == "__main__":
    main(sys.argv[1:])
