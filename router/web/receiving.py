"""Receive: the order of the path, and what bad input gets.

Every 4xx makes Alertmanager send the same body again with each flush for as long as it fires, so only credentials,
size and an unknown compression are refused; a body that can't be used, or decided, is kept in quarantine, as it came,
and answered 202. What an answer promises is on disk; where nothing is, the answer is 503.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.model import Webhook
from router.parse import ParseError
from router.store import StoreUnavailable
from router.undecided import LARGE, undecidable
from router.web.answers import refusal
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.auth import Unauthorized, authenticate
from router.web.body import UNDERSTOOD, Body, Intake, TooMany, UnknownEncoding

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LONGEST_REASON = 1_000
# Alertmanager knows by itself when to come again; others may ask.
_RETRY_AFTER = {"Retry-After": "10"}
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_INTAKE: web.AppKey[Intake] = web.AppKey("intake", Intake)


def add_webhook(app: web.Application, context: AppContext) -> None:
    app[_INTAKE] = Intake(context.max_body, context.in_flight, context.read_seconds)
    app.on_cleanup.append(_close_intake)
    # A trailing slash answers as well: a redirect would lose the alert (its GET's 200 counts as success).
    paths = ("/webhook", "/webhook/", "/webhook/{source}", "/webhook/{source}/")
    app.add_routes([web.post(path, receive) for path in paths])


async def _close_intake(app: web.Application) -> None:
    app[_INTAKE].close()


async def receive(request: web.Request) -> web.Response:  # noqa: PLR0911, C901  (an answer for each kind of input)
    """Authenticate - read - parse - decide and commit - wake - 200. Providers are never talked to here."""
    context, intake = request.app[APP_CONTEXT], request.app[_INTAKE]
    source, body = "unknown", Body()
    try:
        source = authenticate(request, context.sources(), request.match_info.get("source")).name
        if context.stopping():
            return _unavailable(context, source, "the service is stopping")
        await intake.read(request, body)
        try:
            webhook = await intake.parse(body, context.clock.now(), request.remote or "")
            await _in_time(context, intake, body, _accept(context, webhook, source, body.plain))
        except (ParseError, Undecidable) as error:
            return await _quarantined(context, intake, source, body, str(error))
        if webhook.oddities:
            await _quarantine(context, intake, source, body, "; ".join(webhook.oddities))
        context.metrics.webhook(source, "accepted")
        return web.Response(body=b'{"status": "accepted", "alerts": %d}' % len(webhook.alerts), headers=_JSON)
    except Unauthorized as error:
        context.metrics.webhook(source, "unauthorized")
        log.warning("webhook refused", peer=request.remote, reason=str(error))
        return refusal(401, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _too_large(context, source)
    except UnknownEncoding as error:
        return _unsupported(context, source, str(error))
    except TooMany as error:  # which says so once, not for each of thousands
        context.metrics.webhook(source, "unavailable")
        return refusal(503, str(error), headers=_RETRY_AFTER)
    except StoreUnavailable as error:
        context.store.refused(error)  # which says so once, not for each of thousands
        context.metrics.webhook(source, "unavailable")
        return refusal(503, str(error), headers=_RETRY_AFTER)
    except TimeoutError:
        return _unavailable(context, source, f"the body did not come within {context.read_seconds:g} s")
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        return _unavailable(
            context,
            source,
            "the body is incomplete: the sender closed the connection, or the chunked encoding is invalid",
        )
    except Exception:
        log.exception("webhook failed unexpectedly", source=source)
        return _unavailable(context, source, "an internal error; the log has it")
    finally:
        intake.let_go(body)


class Undecidable(Exception):  # noqa: N818  (says what is so)
    """A webhook fails, and would fail again whenever it is sent."""


async def _accept(context: AppContext, webhook: Webhook, source: str, body: bytes) -> None:
    """:raises Undecidable: nothing of it was kept; ``StoreUnavailable`` says nothing of the webhook"""
    policy, now = context.policy(), context.clock.now()
    try:
        if len(webhook.alerts) > LARGE:
            await context.keep(webhook, source, body)
            return
        receipt = await context.store.accept(webhook, source, body, policy, now)
    except (StoreUnavailable, MemoryError):
        raise
    except Exception as error:
        log.exception("a webhook can't be decided", source=source)
        raise Undecidable(undecidable(error)) from error
    context.metrics.decided(source, receipt.changes, receipt.decisions)
    context.wake(receipt.wake)


async def _in_time(context: AppContext, intake: Intake, body: Body, work: Coroutine[Any, Any, T]) -> T:
    """What takes longer, because a disk hangs, goes on all the same: it is told if it gets kept after all, and what
    Alertmanager sends again is a repeat then.

    :raises StoreUnavailable: it is not kept yet
    """
    task = asyncio.ensure_future(work)
    waiting = asyncio.shield(task)
    timer = asyncio.get_running_loop().call_later(
        context.keep_seconds, _give_up, waiting, context.keep_seconds
    )
    try:
        return await waiting
    finally:
        timer.cancel()
        if not task.done():  # the body stays in memory until then
            left, body.held = Body(held=body.held), 0
            task.add_done_callback(lambda _: intake.let_go(left))


def _give_up(waiting: asyncio.Future[T], seconds: float) -> None:
    if not waiting.done():
        waiting.set_exception(StoreUnavailable(f"nothing could be written within {seconds:g} s"))


async def _quarantined(
    context: AppContext, intake: Intake, source: str, body: Body, reason: str
) -> web.Response:
    await _quarantine(context, intake, source, body, reason)
    context.metrics.webhook(source, "quarantined")
    return refusal(202, f"{reason}; the body is kept, see /api/v1/quarantine")


async def _quarantine(context: AppContext, intake: Intake, source: str, body: Body, reason: str) -> None:
    reason = reason[:_LONGEST_REASON]
    keeping = context.store.quarantine(body.raw, source, reason, context.clock.now(), body.encoding)
    kept = await _in_time(context, intake, body, keeping)
    context.metrics.quarantined()
    log.warning(
        "webhook quarantined",
        source=source,
        reason=reason,
        id=kept,
        bytes=len(body.raw),
        encoding=body.encoding,
    )


def _unsupported(context: AppContext, source: str, reason: str) -> web.Response:
    context.metrics.webhook(source, "unsupported")
    log.error("webhook refused", source=source, reason=reason)
    return refusal(415, reason, headers={"Accept-Encoding": UNDERSTOOD})


def _too_large(context: AppContext, source: str) -> web.Response:
    context.metrics.webhook(source, "too_large")
    log.error("webhook too large", source=source, limit=context.max_body)
    return refusal(
        413,
        f"the body, as it came or inflated, is over the limit of {context.max_body} bytes; raise --max-body, or set max_alerts in alertmanager.yml",
    )  # fmt: skip


def _unavailable(context: AppContext, source: str, reason: str) -> web.Response:
    """Alertmanager retries a 5xx with backoff, and again at its next flush."""
    context.metrics.webhook(source, "unavailable")
    log.error("webhook not kept", source=source, reason=reason)
    return refusal(503, reason, headers=_RETRY_AFTER)
