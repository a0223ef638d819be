"""The pages of the configuration: the files in force, their history, and files that were in force."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from aiohttp import web
from markupsafe import Markup, escape

from router.model import Role
from router.render.words import clean
from router.web.api.configuration import (
    LIST_LOADS,
    RELOAD_CONFIGURATION,
    SHOW_CONFIGURATION,
    SHOW_LOAD,
    SHOW_VERSION,
    ConfigurationFile,
)
from router.web.api.problem_details import ApiError
from router.web.line_diff import split_lines
from router.web.pages.page_rendering import LINES_PER_PAGE, address, line_id, lines_address, render
from router.web.pages.page_routes import ask, fields, form, page, redirect

_RECENT_LOADS = 10
MAX_LINES = 20_000
"""How many lines of all files together one page has."""
_UNUSABLE = 422  # the status of a reload of files that can't be used


async def _configuration(request: web.Request) -> web.Response:
    answer = await ask(request, SHOW_CONFIGURATION, {})
    recent = await ask(request, LIST_LOADS, {"limit": _RECENT_LOADS})
    differing = [each for each in answer.on_disk if each.state != "in force"]
    values = {
        "config": answer, "recent": recent, "differing": differing, "files": _shown(request, answer.sha256, answer.files),
    }  # fmt: skip
    return await render(request, "configuration.html", values, active="configuration")


async def _version(request: web.Request) -> web.Response:
    answer = await ask(request, SHOW_VERSION, dict(request.match_info))
    values = {"config": answer, "files": _shown(request, answer.sha256, answer.files)}
    return await render(request, "configuration_version.html", values, active="configuration")


async def _history(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_LOADS)
    return await render(request, "configuration_history.html", {"loads": answer}, active="configuration")


async def _load(request: web.Request) -> web.Response:
    answer = await ask(request, SHOW_LOAD)
    diffs = [(each, _diff_lines(each.lines)) for each in answer.diffs]
    return await render(
        request, "configuration_load.html", {"load": answer, "diffs": diffs}, active="configuration"
    )


async def _reload(request: web.Request) -> web.Response:
    await fields(request)
    try:
        await ask(request, RELOAD_CONFIGURATION, {})
    except ApiError as error:
        if error.status != _UNUSABLE:
            raise
        return redirect("/configuration", "")  # the page shows the mistakes
    return redirect("/configuration", "reloaded")


def _shown(request: web.Request, sha256: str, files: Iterable[ConfigurationFile]) -> list[dict[str, Any]]:
    """Return the files as the template shows them: of a long one, some lines at a time. A file for which the page has no
    room has only a link.
    """
    chosen, after = request.query.get("file"), request.query.get("after", "")
    first = int(after) if after.isascii() and after.isdecimal() and len(after) < 9 else 0
    shown, room = [], MAX_LINES
    for each in files:
        if chosen not in {None, each.name}:
            continue
        count = _count_lines(each.text)
        begin = first if each.name == chosen and first < count else 0
        end = min(begin + LINES_PER_PAGE, count)
        has_room = end - begin <= room
        room -= end - begin if has_room else 0
        shown.append({
            "file": each, "text": _numbered(each.name, each.text, begin) if has_room else None,
            "begin": begin + 1, "end": end, "lines": count, "alone": address(f"/configuration/{sha256}", file=each.name),
            "before": lines_address(sha256, each.name, max(begin - LINES_PER_PAGE, 0)) if begin else None,
            "next": lines_address(sha256, each.name, end) if end < count else None,
        })  # fmt: skip
    return shown


@lru_cache(maxsize=64)
def _count_lines(text: str) -> int:
    return len(split_lines(text))


@lru_cache(maxsize=16)
def _numbered(file: str, text: str, begin: int) -> Markup:
    """Return lines of a file as HTML. Each has its id. The numbers are no text, so that they are not copied with it."""
    name = escape(line_id(file, 0).removesuffix("0"))
    lines = split_lines(text)[begin : begin + LINES_PER_PAGE]
    return Markup(  # noqa: S704  (each value is escaped)
        "".join(
            f'<span class="code" id="{name}{number}" data-line="{number}">{escape(clean(line))}\n</span>'
            for number, line in enumerate(lines, begin + 1)
        )
    )


def _diff_lines(lines: Iterable[str]) -> Markup:
    kinds = {"+": "added", "-": "removed", "@": "position"}
    return Markup(  # noqa: S704  (each value is escaped)
        "".join(
            f'<span class="code {kinds.get(each[:1], "same")}">{escape(clean(each))}\n</span>'
            for each in lines
        )
    )


ROUTES = (
    page("/configuration", _configuration),
    page("/configuration/history", _history),
    page("/configuration/history/{id}", _load),
    page("/configuration/{sha256}", _version),
    form("/configuration/reload", Role.ADMIN, _reload),
)
