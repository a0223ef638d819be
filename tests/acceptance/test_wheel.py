"""The wheel and the sdist: complete, the same from a checkout and from the sdist, and of use in an empty folder."""

import sysconfig
import tomllib
from email.parser import BytesParser
from pathlib import Path

import pytest

from router.package import COPIED, docs_address, package_version
from tests.dist import ROOT, build, contents, new_environment, try_wheel, unpacked


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel of the checkout."""
    out = tmp_path_factory.mktemp("built")
    return build(ROOT, "sdist", out / "sdist"), build(ROOT, "wheel", out / "wheel")


def shipped() -> dict[str, bytes]:
    """Return every file that the wheel has to have, by its name there."""
    files = {f"router/{path.relative_to(ROOT / 'router')}": path for path in (ROOT / "router").rglob("*")}
    files |= {f"router/templates/{path.name}": path for path in (ROOT / "templates").iterdir()}
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs" / each for each in COPIED)]
    files |= {f"router/docs/{path.relative_to(ROOT / 'docs')}": path for path in pages}
    files |= {"router/routes.yaml": ROOT / "routes.yaml"}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_every_file_and_no_other(built: tuple[Path, Path]) -> None:
    found = {name: data for name, data in contents(built[1]).items() if ".dist-info/" not in name}
    assert sorted(found) == sorted(shipped())
    assert found == shipped()


def test_the_sdist_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    again = build(unpacked(built[0], tmp_path / "source"), "wheel", tmp_path / "wheel")
    assert again.name == built[1].name
    assert contents(again) == contents(built[1])


def test_the_metadata_is_complete(built: tuple[Path, Path]) -> None:
    (data,) = (data for name, data in contents(built[1]).items() if name.endswith("/METADATA"))
    metadata = BytesParser().parsebytes(data)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == project["version"] == package_version()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == project["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) == {"postgresql", "sentry", "otel"}
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert urls == project.get("urls", {})
    assert urls.get("Documentation") == docs_address()
    for name in ("Summary", "Keywords", "Classifier", "Description-Content-Type"):
        assert metadata[name], name
    assert "](docs/" not in str(metadata.get_payload())


def test_it_works_in_an_empty_environment_and_an_empty_folder(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """The dependencies are those of this environment. `.ci/run` installs the locked ones instead."""
    programs = new_environment(tmp_path / "environment", built[1])
    (packages,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "empty").mkdir()
    try_wheel(programs, tmp_path / "empty")
