"""``alert-router docs``: the pages of the documentation, which every installation has."""

import sys

import click

from router.cli.shared import Failure
from router.package import docs_address, docs_pages


@click.command()
@click.argument("page", required=False)
def docs(*, page: str | None) -> None:
    """List the pages of the documentation, or print the PAGE with this name, like configuration.

    They are part of the installation, so they fit its version and need no network.
    """
    pages = docs_pages()
    if not pages:
        raise Failure(f"the pages are not installed; read them at {docs_address()}")
    if page is not None:
        path = pages.get(page.removesuffix(".md"))
        if path is None:
            raise Failure(f"there is no page {page!r}; pages are: {', '.join(pages)}")
        text = path.read_text("utf-8")
        if sys.stdout.isatty():
            click.echo_via_pager(text)
        else:
            click.echo(text, nl=False)
        return
    widest = max(map(len, pages))
    for name, path in pages.items():
        with path.open(encoding="utf-8") as file:
            title = file.readline().removeprefix("# ").strip()
        click.echo(f"{name:{widest}}  {title}")
    click.echo(f"\nThe folder: {next(iter(pages.values())).parent}")
    if address := docs_address():
        click.echo(f"On the web: {address}")


COMMANDS = (docs,)
