"""Fills the templates of the pages.

Every value is escaped. Texts from outside also lose control characters and direction overrides, which can make a text look
like another one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup, escape

from router.model import SECOND, Millis, Role
from router.render.words import duration, web_address
from router.web.access import PRINCIPAL
from router.web.api.overview import CurrentTrouble, destination_address, find_trouble
from router.web.app_context import APP_CONTEXT
from router.web.pages.navigation import navigation_entries
from router.web.pages.template_output import OutputGenerator, html_of

FOLDER = Path(__file__).parent
LINES_PER_PAGE = 5_000
"""How many lines of a file of the configuration one page has."""
_MAX_KNOWN_TIMES, _MAX_KNOWN_RULES = 4_096, 512
_MAX_PATH_CHARS = 40
_NO_TIME = Markup('<span class="quiet">\N{EN DASH}</span>')
_HEADERS = {
    # Only scripts of the router itself run, and no style is inline. A message with its own HTML is shown in a frame that
    # may run nothing.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}


class PageEnvironment(jinja2.Environment):
    """The templates of the pages."""

    code_generator_class = OutputGenerator


def set_up_templates(app: web.Application) -> None:
    """Compile the templates of the pages for an application."""
    environment = PageEnvironment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"), undefined=jinja2.StrictUndefined, finalize=html_of,
        autoescape=True, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    app[aiohttp_jinja2.APP_KEY] = environment
    environment.filters |= {
        "web_address": web_address,
        "moment": _moment,
        "iso": _iso,
        "ago": _ago,
        "lasting": duration,
        "number": _number,
        "clipped": _clipped,
        "short_path": short_path,
    }
    environment.globals |= {
        "address": address,
        "destination_address": destination_address,
        "position_address": position_address,
        "when": _when,
        "tag": _tag,
        "label_list": _label_list,
        "rule_link": _rule_link,
    }


async def render(
    request: web.Request, template: str, values: Mapping[str, Any], *, active: str = "", status: int = 200
) -> web.Response:
    """Return a page.

    :param template: a file of the folder ``templates``
    :param active: the entry of the navigation that it belongs to
    """
    context = request.app[APP_CONTEXT]
    principal = request.get(PRINCIPAL)  # None: the request is refused, so the page shows nothing else
    trouble = CurrentTrouble() if principal is None else await find_trouble(context)
    zone = ZoneInfo(context.config().timezone)
    shown = {
        **values, "principal": principal, "navigation": () if principal is None else navigation_entries(preview=context.preview), "active": active, "trouble": trouble,
        "may_operate": principal is not None and principal.may(Role.OPERATE),
        "now": context.clock.now(), "zone": zone, "request": request, "preview": context.preview,
    }  # fmt: skip
    response = aiohttp_jinja2.render_template(template, request, shown, status=status)
    response.headers.update(_HEADERS)
    return response


async def render_error(request: web.Request, status: int, detail: str) -> web.Response:
    """Return the page that says why a page or an action was refused."""
    values = {"title": HTTPStatus(status).phrase, "detail": detail}
    return await render(request, "error.html", values, status=status)


def address(path: str, **parameters: Any) -> str:
    """Return an address of a page. Parameters that are None or empty are left out; a list gives a parameter several times."""
    given = [(name, value) for name, value in parameters.items() if value not in (None, "", (), [])]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def line_address(sha256: str, file: str, line: int) -> str:
    """Return the address of a line of a file that was in force.

    :param sha256: the hash of the files, as decisions have it
    :param file: the name of the file, as positions of rules have it
    """
    return f"{lines_address(sha256, file, line - 1 - (line - 1) % LINES_PER_PAGE)}#{line_id(file, line)}"


def lines_address(sha256: str, file: str, after: int) -> str:
    """Return the address of the page with a part of a file that was in force. :param after: the lines before it"""
    part = {"file": file, "after": after} if after else {}
    return address(f"/configuration/{sha256}", **part)


def line_id(file: str, line: int) -> str:
    """Return the id that a line of a file has on its page: ``routes.yaml-57``."""
    return f"{quote(file, safe='/._-')}-{line}"


# They are no macros, because some pages have hundreds of them.
def _tag(word: Any, kind: str | None = None) -> Markup:
    """Return a word in the colour of its kind."""
    shown = html_of(word)
    return Markup(f'<span class="tag {html_of(kind) if kind else shown}">{shown}</span>')  # noqa: S704  (escaped)


def _label_list(values: Mapping[str, str]) -> Markup:
    several = "".join(
        f'<li><span class="quiet">{html_of(name)}=</span>{html_of(value)}</li>'
        for name, value in values.items()
    )
    return Markup(f'<ul class="labels">{several}</ul>')  # noqa: S704  (escaped)


def _rule_link(about: Any) -> Markup:
    """Return a rule with a link to its line. :param about: a decision, or a note of a destination"""
    return _rule(about.rule or "", about.configuration or "", about.position or "")


@lru_cache(_MAX_KNOWN_RULES)
def _rule(rule: str, configuration: str, position: str) -> Markup:
    shown = html_of(rule)
    if not (rule and configuration and position):
        return Markup(shown)  # noqa: S704  (escaped)
    where = html_of(position_address(configuration, position))
    return Markup(f'<a href="{where}">{shown} ({html_of(short_path(position))})</a>')  # noqa: S704  (escaped)


@jinja2.pass_context
def _when(context: jinja2.runtime.Context, at: Millis | None) -> Markup:
    """Return a moment, and how long ago it was."""
    if at is None:
        return _NO_TIME
    return Markup(f"{_time_of(at, context['zone'])}({_ago(at, context['now'])})</span></time>")  # noqa: S704  (numbers and names of units)


@lru_cache(_MAX_KNOWN_TIMES)
def _time_of(at: Millis, zone: ZoneInfo) -> str:
    return f'<time datetime="{_iso(at)}">{escape(_moment(at, zone))} <span class="quiet">'


def short_path(text: str) -> str:
    """Return a path, and what follows it, without the folders that a reader can do without: ``…/teams/db.yaml:3``."""
    return text if len(text) <= _MAX_PATH_CHARS else "…/" + "/".join(text.split("/")[-2:])


def position_address(sha256: str, position: str) -> str:
    """Return the address of the line that a rule was at. :param position: as decisions have it: ``routes.yaml:57``"""
    file, _, line = position.rpartition(":")
    return line_address(sha256, file, int(line)) if line.isdecimal() else address(f"/configuration/{sha256}")


def _moment(at: Millis, zone: ZoneInfo) -> str:
    """Return a moment for people: ``Fri 20 Nov 2026 22:41:05``."""
    local = datetime.fromtimestamp(at / SECOND, zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M:%S}"


def _iso(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ago(at: Millis, now: Millis) -> str:
    """Return when something was or will be: ``5 min ago``, ``in 2 h``, ``now``."""
    if abs(now - at) < SECOND:
        return "now"
    return f"{duration(now - at)} ago" if at < now else f"in {duration(at - now)}"


def _clipped(text: str, limit: int) -> str:
    """Return at most so many characters, and how many more there are."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def _number(value: int, is_exact: bool = True) -> str:  # noqa: FBT001, FBT002  (a filter of templates has positional arguments)
    return f"{value:,}" + ("" if is_exact else "+")
