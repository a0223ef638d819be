"""The installed package: its version, and where its documentation is."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

_NAME = "alert-router"
_FOLDER = Path(__file__).parent
COPIED = ("howto/nginx.conf", "howto/slack-manifest.yaml", "routes.schema.json")
"""Files of the documentation that are no pages. pyproject.toml puts them into the wheel."""
_DOCS = next((path for path in (_FOLDER / "docs", _FOLDER.parent / "docs") if path.is_dir()), None)


@cache
def package_version() -> str:
    """Return the installed version. It is read from a file, so the result is kept."""
    try:
        return version(_NAME)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def docs_page(name: str) -> str:
    """Return how to read a page of the documentation, for the end of a message. It is part of every installation, so this
    works without a network and fits the version.

    :param name: of the page, such as ``configuration``
    """
    return f"`{_NAME} docs {name}`"


def docs_address() -> str | None:
    """Return the web address of the documentation, which is in the package's metadata; None: it has none."""
    try:
        addresses = metadata(_NAME).get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    named = dict(address.split(", ", 1) for address in addresses)
    return named.get("Documentation")


def docs_folder() -> Path | None:
    """Return the folder with the pages of the documentation; None: they are not installed."""
    return _DOCS


def docs_pages() -> dict[str, Path]:
    """Return the pages of the documentation by name, such as ``configuration``, and the files that pages say to copy, such as
    ``howto/nginx.conf``; those in folders after the others.
    """
    if _DOCS is None:
        return {}
    pages = {path.relative_to(_DOCS).with_suffix("").as_posix(): path for path in _DOCS.rglob("*.md")}
    copied = {each: _DOCS / each for each in COPIED if (_DOCS / each).is_file()}
    return dict(sorted((pages | copied).items(), key=lambda named: (named[0].count("/"), named[0])))
