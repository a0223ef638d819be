"""``alert-router docs``: the pages of the documentation, which every installation has."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from router.cli.shared import Failure, json_option, print_json
from router.package import docs_address, docs_folder, docs_pages


@click.command()
@click.argument("page", required=False)
@json_option
def docs(*, page: str | None, as_json: bool) -> None:
    """List the pages of the documentation, or print the PAGE with this name, like configuration.

    They are part of the installation, so they fit its version and need no network.
    """
    pages = docs_pages()
    if not pages:
        address = docs_address()
        where = "install the package again" if address is None else f"read them at {address}"
        raise Failure(f"the pages are not installed; {where}")
    if page is None:
        _list(pages, as_json=as_json)
    elif (path := pages.get(name := page.removesuffix(".md"))) is not None:
        _print(name, path, as_json=as_json)
    else:
        raise Failure(f"there is no page {page!r}; pages are: {', '.join(pages)}")


def _list(pages: Mapping[str, Path], *, as_json: bool) -> None:
    titles = {
        name: path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        if path.suffix == ".md"
        else "a file to copy"
        for name, path in pages.items()
    }
    if as_json:
        print_json(
            [{"page": name, "title": title, "file": str(pages[name])} for name, title in titles.items()]
        )
        return
    widest = max(map(len, titles))
    for name, title in titles.items():
        click.echo(f"{name:{widest}}  {title}")
    click.echo(f"\nThe folder: {docs_folder()}")
    if address := docs_address():
        click.echo(f"On the web: {address}")


def _print(name: str, path: Path, *, as_json: bool) -> None:
    text = path.read_text("utf-8")
    if as_json:
        print_json({"page": name, "file": str(path), "text": text})
    elif sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


COMMANDS = (docs,)
