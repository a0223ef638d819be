"""The files of the image: what the engine is sent, what the Dockerfile copies, and the script that pins digests."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from router.cli.running import serve
from tests.acceptance.processes import ROOT
from tests.unit.deploy.sent_files import sent_files

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_engine_is_sent_what_the_dockerfile_copies(tmp_path: Path) -> None:
    sent = sent_files(tmp_path)
    copied = [each.split()[0] for each in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE)]
    assert {"requirements/image.txt", "deploy/image/install", "routes.yaml"} <= set(copied)
    assert all((sent / each).exists() for each in copied)


def test_the_engine_is_sent_what_the_package_is_built_of_and_no_more(tmp_path: Path) -> None:
    sent = sent_files(tmp_path)
    top = {path.name for path in sent.iterdir()}
    assert top == {
        "LICENSE", "README.md", "deploy", "docs", "pyproject.toml", "requirements", "router", "routes.yaml", "templates",
    }  # fmt: skip
    assert [path.name for path in (sent / "requirements").iterdir()] == ["image.txt"]
    assert not list(sent.rglob("__pycache__"))
    assert not list(sent.rglob("*.png")), "the package has the pages, not their pictures"
    tracked = subprocess.run(
        ["git", "ls-files", "router", "templates"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert all((sent / each).is_file() for each in tracked if (ROOT / each).is_file())


def test_variables_of_the_image_are_options_of_serve() -> None:
    names = set(re.findall(r"\b(ALERT_ROUTER_\w+)=", DOCKERFILE))
    assert names
    assert names <= {each.envvar for each in serve.params}


def test_the_health_check_names_no_address() -> None:
    """It follows the variables of the service."""
    assert re.search(r'^HEALTHCHECK .*\\\n  CMD \["alert-router", "healthcheck"\]$', DOCKERFILE, re.MULTILINE)


def _pinned(folder: Path, docker: str) -> tuple[int, str]:
    """Run the script on copies, with this script as docker. :returns: the exit code, and the images in the copies"""
    for name in ("Dockerfile", "deploy/compose/compose.yaml", "deploy/image/pin"):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy(ROOT / name, copy)
    program = folder / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(docker)
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        [folder / "deploy/image/pin"], env=environ, capture_output=True, text=True, check=False
    )
    text = (folder / "Dockerfile").read_text() + (folder / "deploy/compose/compose.yaml").read_text()
    return ran.returncode, "\n".join(re.findall(r"^(?:FROM|  +image:) .*", text, re.MULTILINE))


def test_pin_adds_digests_and_renews_them(tmp_path: Path) -> None:
    digest, newer = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    code, images = _pinned(tmp_path, f"#!/bin/sh\necho {digest}\n")
    assert code == 0
    assert f"FROM python:3.13-slim-bookworm@{digest} AS build\n" in images
    assert re.search(rf"image: postgres:[\w.-]+@{digest}\n", images)
    assert "image: alert-router:${ALERT_ROUTER_VERSION:-local}" in images
    every = len(re.findall("(?m)^(?:FROM|  +image:)", images))
    assert images.count(digest) == every - 1
    code, images = _pinned(tmp_path, f"#!/bin/sh\necho {newer}\n")
    assert code == 0
    assert (images.count(digest), images.count(newer)) == (0, every - 1)


@pytest.mark.parametrize("docker", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho error\n"])
def test_an_image_that_can_not_be_asked_about_stays_as_it_is(tmp_path: Path, docker: str) -> None:
    code, images = _pinned(tmp_path, docker)
    assert code == 1
    assert "@sha256" not in images
