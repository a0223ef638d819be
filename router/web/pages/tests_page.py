"""The pages of tests: the receivers with their last test, and one test, which shows the answers as they come."""

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from router.model import Role
from router.web.api.tests_of_receivers import LIST_TESTS, READ_TEST, START_TEST, TestReport
from router.web.app_context import APP_CONTEXT
from router.web.pages.page_rendering import address, render
from router.web.pages.page_routes import ask, fields, form, page

_MAX_RECEIVERS = 1_000


async def _tests(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    given = {"receiver": request.query["receiver"]} if request.query.get("receiver") else {}
    cursor = {"cursor": request.query["cursor"]} if request.query.get("cursor") else {}
    tests = await ask(request, LIST_TESTS, {**given, **cursor})
    receivers = context.policy().receivers
    shown = [each for each in receivers if not given or each == given["receiver"]][:_MAX_RECEIVERS]
    drill = context.config().drill
    values = {
        "tests": tests, "given": given, "receivers": {each: receivers[each] for each in shown},
        "more": max(0, len(receivers) - len(shown)) if not given else 0,
        "last": await last_tests(request), "drill": drill,
        "next_drill": None if drill is None else drill.schedule.next(context.clock.now()),
    }  # fmt: skip
    return await render(request, "tests.html", values, active="destinations")


async def last_tests(request: web.Request) -> Mapping[str, TestReport]:
    """Return the last stored test of each receiver."""
    tests = await ask(request, LIST_TESTS, {"limit": 500})
    return {each.receiver: each for each in reversed(tests.items)}


async def _test(request: web.Request) -> web.Response:
    test = await ask(request, READ_TEST)
    return await render(request, "test.html", {"test": test}, active="destinations")


async def _send(request: web.Request) -> web.Response:
    given = await fields(request)
    test = await ask(request, START_TEST, {name: given[name] for name in ("receiver",) if name in given})
    return web.Response(status=303, headers={"Location": address_of_test(test.id)})


def address_of_test(id_: str) -> str:
    """Return the address of the page of a test."""
    return address(f"/tests/{quote(id_, safe='')}")


ROUTES = (
    page("/tests", _tests),
    page("/tests/{id}", _test),
    form("/tests", Role.OPERATE, _send),
)
