"""Receives webhooks: the order of the steps, and the answer to each kind of bad input.

Alertmanager sends a body again after a 4xx, with each flush for as long as its alerts fire. So the router refuses
only wrong credentials, bodies over the limit, and unknown encodings. A body that can't be parsed or decided is
quarantined byte for byte, and answered with 202. A 200 or 202 is sent only after the data is on disk. If it can't be
stored, the answer is 503.
"""

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.metrics import UNKNOWN_SOURCE
from router.model import Webhook
from router.parse import ParseError
from router.store import StoreUnavailable
from router.telemetry import ReceiveObserver
from router.undecided import MAX_PIECE_ALERTS, undecidable_reason
from router.web.access import needs
from router.web.access.identification import AccessRefused
from router.web.access.source_credentials import Unauthorized
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.body import SUPPORTED_ENCODINGS, Body, Intake, TooManyBytes, UnknownEncoding
from router.web.json_answers import refusal
from router.web.receiving_log import accepted_fields

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MAX_REASON_CHARS = 1_000
_UNEXPECTED = 500
"""The status of the answer to a webhook that raised an error nobody expected."""
# For other senders: Alertmanager ignores it, because it has its own schedule of retries.
RETRY_AFTER = {"Retry-After": "10"}
_JSON_HEADERS = {"Content-Type": "application/json; charset=utf-8"}
_INTAKE: web.AppKey[Intake] = web.AppKey("intake", Intake)


def add_webhook(app: web.Application, context: AppContext) -> None:
    app[_INTAKE] = Intake(context.max_body, context.in_flight, context.read_seconds)
    app.on_cleanup.append(_close_intake)
    # A trailing slash is accepted: after a redirect, Alertmanager would send a GET, and treat its 200 as success.
    paths = ("/webhook", "/webhook/", "/webhook/{source}", "/webhook/{source}/")
    app.add_routes([web.post(path, receive) for path in paths])


async def _close_intake(app: web.Application) -> None:
    app[_INTAKE].close()


@needs(None)
async def receive(request: web.Request) -> web.Response:
    """Handle a webhook, observe it, and count its answer."""
    context, started = request.app[APP_CONTEXT], time.perf_counter()
    observer, status = context.telemetry.receive(request.headers), 0
    try:
        response = await _receive(request, observer)
        status = response.status
    except Exception:
        context.answered(_UNEXPECTED, time.perf_counter() - started)
        raise
    else:
        context.answered(status, time.perf_counter() - started)
        return response
    finally:
        observer.answered(status)


async def _receive(  # noqa: PLR0911, C901  (an answer for each kind of input)
    request: web.Request, observer: ReceiveObserver
) -> web.Response:
    """Handle a webhook: authenticate, read, parse, decide and commit, wake the lanes, answer 200. No provider is
    contacted here.
    """
    context, intake = request.app[APP_CONTEXT], request.app[_INTAKE]
    source, body, started = UNKNOWN_SOURCE, Body(), time.perf_counter()
    try:
        name = request.match_info.get("source")
        source = (
            await context.access.source_of(request, context.config().access, context.sources(), name)
        ).name
        if context.stopping():
            return _unavailable(context, source, "the service is stopping")
        await intake.read(request, body)
        try:
            webhook = await intake.parse(body, context.clock.now(), request.remote or "")
            observer.deciding()
            accepting = _accept(context, webhook, source, body.plain, observer)
            number = await _in_time(context, intake, body, accepting)
        except (ParseError, Undecidable) as error:
            return await _quarantined(context, intake, source, body, str(error))
        if webhook.oddities:
            await _quarantine(context, intake, source, body, "; ".join(webhook.oddities))
        context.metrics.webhook(source, "accepted")
        log.info(
            "webhook accepted",
            fields=partial(accepted_fields, webhook, source, number, started, context.policy().tenants),
        )
        return web.Response(
            body=b'{"status": "accepted", "alerts": %d}' % len(webhook.alerts), headers=_JSON_HEADERS
        )
    except Unauthorized as error:
        context.metrics.webhook(source, "unauthorized")
        log.warning("webhook refused", status="refused", code=401, peer=request.remote, reason=str(error))
        return refusal(401, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _too_large(context, source)
    except UnknownEncoding as error:
        return _unsupported(context, source, str(error))
    # Intake logs it once, not for every webhook. Of passwords, too many are being checked; Alertmanager retries only a 5xx.
    except (TooManyBytes, AccessRefused) as error:
        context.metrics.webhook(source, "unavailable")
        return refusal(503, str(error), headers=RETRY_AFTER)
    except StoreUnavailable as error:
        context.store.refused(error)  # the store logs it once, not for every webhook
        context.metrics.webhook(source, "unavailable")
        return refusal(503, str(error), headers=RETRY_AFTER)
    except TimeoutError:
        return _unavailable(context, source, f"the body did not arrive within {context.read_seconds:g} s")
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        return _unavailable(
            context,
            source,
            "the body is incomplete: the sender closed the connection, or the chunked encoding is invalid",
        )
    except Exception:
        log.exception("webhook failed unexpectedly", tenant=source)
        return _unavailable(context, source, "an internal error; see the log")
    finally:
        intake.release(body)


class Undecidable(Exception):  # noqa: N818  (names the condition)
    """A webhook can't be decided. It would fail again each time it is sent."""


async def _accept(
    context: AppContext, webhook: Webhook, source: str, body: bytes, observer: ReceiveObserver
) -> int:
    """Decide and store a webhook. Return its id.

    :raises Undecidable: nothing of it was stored
    :raises StoreUnavailable: the store failed; the cause is not the webhook
    """
    now, is_large = context.clock.now(), len(webhook.alerts) > MAX_PIECE_ALERTS
    if not is_large:
        await context.claim_ahead()
    policy = context.policy()  # nothing waits between this and the job: a reload relies on it
    try:
        if is_large:
            number = await context.store_large_webhook(webhook, source, body)
            context.heard(source, ())
            observer.kept(webhook, source, number)
            return number
        receipt = await context.store.accept(webhook, source, body, policy, now)
        if receipt.kept:
            context.webhook_kept(webhook)
            context.heard(source, ())
            observer.kept(webhook, source, receipt.webhook)
            return receipt.webhook
    except (StoreUnavailable, MemoryError):
        raise
    except Exception as error:
        log.exception("a webhook can't be decided", tenant=source)
        raise Undecidable(undecidable_reason(error)) from error
    context.metrics.decided(source, receipt.changes, receipt.decisions)
    context.heard(source, receipt.heartbeats)
    observer.decided(webhook, source, receipt, policy)
    context.wake_lanes(receipt.wake)
    return receipt.webhook


async def _in_time(context: AppContext, intake: Intake, body: Body, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work that stores a webhook, within a time limit. Work that takes longer, because a disk hangs,
    continues: if it succeeds, the webhook counts, and what Alertmanager sends again is a repeat.

    :raises StoreUnavailable: it is not stored yet
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
        if not task.done():  # the body stays in memory until the work ends
            unfinished = body.handed_over()
            task.add_done_callback(lambda _: intake.release(unfinished))


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
    reason = reason[:_MAX_REASON_CHARS]
    keeping = context.store.quarantine(body.raw, source, reason, context.clock.now(), body.encoding)
    kept = await _in_time(context, intake, body, keeping)
    context.metrics.quarantined()
    log.warning(
        "webhook quarantined",
        status="quarantined",
        tenant=source,
        reason=reason,
        webhook=kept,
        bytes=len(body.raw),
        encoding=body.encoding,
    )


def _unsupported(context: AppContext, source: str, reason: str) -> web.Response:
    context.metrics.webhook(source, "unsupported")
    log.error("webhook refused", status="refused", code=415, tenant=source, reason=reason)
    return refusal(415, reason, headers={"Accept-Encoding": SUPPORTED_ENCODINGS})


def _too_large(context: AppContext, source: str) -> web.Response:
    context.metrics.webhook(source, "too_large")
    log.error("webhook too large", status="refused", code=413, tenant=source, limit=context.max_body)
    return refusal(
        413,
        f"the body, compressed or inflated, is over the limit of {context.max_body} bytes; raise --max-body, or set max_alerts in alertmanager.yml",
    )  # fmt: skip


def _unavailable(context: AppContext, source: str, reason: str) -> web.Response:
    """Return a 503. Alertmanager retries it with backoff, and again at its next flush."""
    context.metrics.webhook(source, "unavailable")
    log.error("webhook not stored", status="refused", code=503, tenant=source, reason=reason)
    return refusal(503, reason, headers=RETRY_AFTER)
