"""The tables of metrics, endpoints and commands agree with the code, in both directions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from router.channels.outbox import Outbox
from router.cli import main
from router.metrics import Metrics
from router.store import Store
from router.web import make_app
from router.web.preview_pages import PreviewContext, add_preview
from tests.unit.docs.pages import first_names, headings, names, rows, section, text
from tests.unit.test_metrics import exposed, used
from tests.unit.web.harness import WebHarness

_OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def exposed_labels() -> dict[str, set[str]]:
    """Return the labels of every metric, by the name that it has in the text."""
    metrics = used(Metrics())
    metrics.fragments({"payments": True})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed(metrics)):
        for sample in family.samples:
            is_histogram = family.type == "histogram"
            name = _OF_A_HISTOGRAM.sub("", sample.name) if is_histogram else sample.name
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
        if not family.samples:
            found[family.name] = set()
    return {name: labels for name, labels in found.items() if not name.startswith("process_")}


def test_the_table_of_metrics_has_every_metric_with_its_labels() -> None:
    table = {names(row[0])[0]: set(names(row[1])) for row in rows(text("docs/metrics.md"), "metric")}
    assert table == exposed_labels()


def registered(app: Any) -> set[str]:
    """Return ``METHOD /path`` of every route; HEAD comes with GET, and a trailing slash is an alias."""
    found = {
        (route.method, route.resource.canonical.rstrip("/") or "/")
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    return {f"{method} {path}" for method, path in found}


def without_names(endpoint: str) -> str:
    return re.sub(r"\{\w+\}", "{}", endpoint)


async def test_the_tables_of_endpoints_have_every_route(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/router.db")
    app = make_app(WebHarness(store).parts())

    async def nothing() -> list[Any]:
        return []

    add_preview(app, PreviewContext(Outbox(), lambda: "UTC", nothing, nothing))
    documented = first_names(text("docs/http.md"), "endpoint")
    assert sorted(map(without_names, documented)) == sorted(map(without_names, registered(app)))
    await store.close()


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if path != "alert-router":
        yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")


def test_the_command_line_has_a_section_for_every_command() -> None:
    documented = [each for each in headings("docs/command-line.md") if each.startswith("alert-router ")]
    assert sorted(documented) == sorted(path for path, _ in commands(main, "alert-router"))


def test_every_option_is_documented_with_its_variable() -> None:
    for path, command in commands(main, "alert-router"):
        options = [each for each in command.params if isinstance(each, click.Option)]
        expected = {
            name: each.envvar or "" for each in options for name in (*each.opts, *each.secondary_opts)
        }
        found = {
            name: "".join(names(row[1]))
            for row in rows(section("docs/command-line.md", path), "option")
            for name in names(row[0])
        }
        assert found == expected, path
