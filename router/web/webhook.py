"""Receive: the order of the path, and what bad input gets.

Every 4xx makes Alertmanager send the same body again with each flush for as long as it fires, so only credentials,
size and an unknown compression are refused; a body that can't be used is kept in quarantine, as it came, and answered
202. What an answer promises is on disk; where nothing is, the answer is 503.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.model import Webhook
from router.parse import ParseError, parse
from router.store import Receipt, StoreUnavailable
from router.web.auth import CHALLENGE, Unauthorized, authenticate
from router.web.body import UNDERSTOOD, Body, UnknownEncoding, encoding_of, inflated
from router.web.parts import PARTS, Parts

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LONGEST_REASON = 1_000
# Alertmanager knows by itself when to come again; others may ask.
_RETRY_AFTER = {"Retry-After": "10"}
_INFLATING: web.AppKey[ThreadPoolExecutor] = web.AppKey("inflating", ThreadPoolExecutor)


def add_webhook(app: web.Application) -> None:
    app[_INFLATING] = ThreadPoolExecutor(1, "inflate")
    app.on_cleanup.append(_stop_inflating)
    # A trailing slash answers as well: a redirect would lose the alert (its GET's 200 counts as success).
    paths = ("/webhook", "/webhook/", "/webhook/{source}", "/webhook/{source}/")
    app.add_routes([web.post(path, receive) for path in paths])


async def _stop_inflating(app: web.Application) -> None:
    app[_INFLATING].shutdown(wait=False, cancel_futures=True)


async def receive(request: web.Request) -> web.Response:  # noqa: PLR0911, C901  (an answer for each kind of input)
    """Authenticate - read - parse - decide and commit - wake - 200. Providers are never talked to here."""
    parts = request.app[PARTS]
    source, body = "unknown", Body()
    try:
        source = authenticate(request, parts.sources(), request.match_info.get("source")).name
        if parts.stopping():
            return _unavailable(parts, source, "the service is stopping")
        encoding = encoding_of(request)
        async with asyncio.timeout(parts.read_seconds):
            body = Body(await request.read(), encoding)
        try:
            plain = await inflated(body, parts.max_body, request.app[_INFLATING])
            webhook = replace(parse(plain, parts.clock.now()), sender=request.remote or "")
        except ParseError as error:
            return await _quarantined(parts, source, body, str(error))
        receipt = await _in_time(parts, _accept(parts, webhook, source, plain))
        if webhook.oddities:
            await _quarantine(parts, source, body, "; ".join(webhook.oddities))
        return _accepted(parts, source, webhook, receipt)
    except Unauthorized as refusal:
        parts.metrics.webhook(source, "unauthorized")
        log.warning("webhook refused", peer=request.remote, reason=str(refusal))
        return _answer(401, "unauthorized", str(refusal), headers=CHALLENGE)
    except web.HTTPRequestEntityTooLarge:
        return _too_large(parts, source)
    except UnknownEncoding as refusal:
        return _unsupported(parts, source, str(refusal))
    except StoreUnavailable as error:
        parts.store.refused(error)  # which says so once, not for each of thousands
        parts.metrics.webhook(source, "unavailable")
        return _answer(503, "unavailable", str(error), headers=_RETRY_AFTER)
    except TimeoutError:
        return _unavailable(parts, source, f"the body did not come within {parts.read_seconds:g} s")
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        return _unavailable(
            parts,
            source,
            "the body is incomplete: the sender closed the connection, or the chunked encoding is invalid",
        )
    except Exception:
        log.exception("webhook failed unexpectedly", source=source)
        return _unavailable(parts, source, "an internal error; the log has it")


async def _accept(parts: Parts, webhook: Webhook, source: str, body: bytes) -> Receipt:
    receipt = await parts.store.accept(webhook, source, body, parts.policy(), parts.clock.now())
    parts.wake(receipt.wake)
    return receipt


async def _in_time(parts: Parts, work: Coroutine[Any, Any, T]) -> T:
    """What takes longer, because a disk hangs, goes on all the same: it is told if it gets kept after all, and what
    Alertmanager sends again is a repeat then.

    :raises StoreUnavailable: it is not kept yet
    """
    try:
        async with asyncio.timeout(parts.keep_seconds):
            return await asyncio.shield(work)
    except TimeoutError:
        raise StoreUnavailable(f"nothing could be written within {parts.keep_seconds:g} s") from None


def _accepted(parts: Parts, source: str, webhook: Webhook, receipt: Receipt) -> web.Response:
    metrics = parts.metrics
    metrics.webhook(source, "accepted")
    for kind, level, known_level in receipt.changes:
        metrics.change(source, kind, level, known_level=known_level)
    for destination, verdict in receipt.decisions:
        metrics.decision(destination, verdict)
    return web.json_response({"status": "accepted", "alerts": len(webhook.alerts)})


async def _quarantined(parts: Parts, source: str, body: Body, reason: str) -> web.Response:
    await _quarantine(parts, source, body, reason)
    parts.metrics.webhook(source, "quarantined")
    return _answer(202, "quarantined", f"{reason}; the body is kept, see /api/v1/quarantine")


async def _quarantine(parts: Parts, source: str, body: Body, reason: str) -> None:
    reason = reason[:_LONGEST_REASON]
    keeping = parts.store.quarantine(body.raw, source, reason, parts.clock.now(), body.encoding)
    kept = await _in_time(parts, keeping)
    parts.metrics.quarantined()
    log.warning(
        "webhook quarantined",
        source=source,
        reason=reason,
        id=kept,
        bytes=len(body.raw),
        encoding=body.encoding,
    )


def _unsupported(parts: Parts, source: str, reason: str) -> web.Response:
    parts.metrics.webhook(source, "unsupported")
    log.error("webhook refused", source=source, reason=reason)
    return _answer(415, "unsupported", reason, headers={"Accept-Encoding": UNDERSTOOD})


def _too_large(parts: Parts, source: str) -> web.Response:
    parts.metrics.webhook(source, "too_large")
    log.error("webhook too large", source=source, limit=parts.max_body)
    return _answer(
        413, "too large",
        f"the body, as it came or inflated, is over the limit of {parts.max_body} bytes; raise --max-body, or set max_alerts in alertmanager.yml",
    )  # fmt: skip


def _unavailable(parts: Parts, source: str, reason: str) -> web.Response:
    """Alertmanager retries a 5xx with backoff, and again at its next flush."""
    parts.metrics.webhook(source, "unavailable")
    log.error("webhook not kept", source=source, reason=reason)
    return _answer(503, "unavailable", reason, headers=_RETRY_AFTER)


def _answer(code: int, status: str, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"status": status, "reason": reason}, status=code, headers=headers)
