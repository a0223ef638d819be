"""Receive: the order of the path, and what bad input gets.

Every 4xx makes Alertmanager send the same body again with each flush for as long as it fires, so only
credentials and size are refused; a body that can't be used is kept in quarantine and answered 202.
"""

import zlib

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.model import Source, Webhook
from router.parse import ParseError, parse
from router.store import StoreUnavailable
from router.web.auth import authenticate
from router.web.parts import PARTS, Parts

log = structlog.get_logger(__name__)


async def receive(request: web.Request) -> web.Response:
    """Authenticate - read - parse - decide and commit - wake - 200. Providers are never talked to here."""
    parts = request.app[PARTS]
    source = _authenticated(request, parts)
    if parts.stopping():
        return _unavailable(parts, source, "the service is stopping")
    body = b""
    try:
        body = await _read(request, parts, source)
        webhook = parse(body)
        return await _accept(parts, source, webhook, body)
    except ParseError as error:
        return await _quarantine(parts, source, body, str(error))
    except StoreUnavailable as error:
        return _unavailable(parts, source, str(error))
    except web.HTTPException:
        raise
    except Exception:
        log.exception("webhook failed unexpectedly", source=source.name)
        return _unavailable(parts, source, "an internal error")


async def _accept(parts: Parts, source: Source, webhook: Webhook, body: bytes) -> web.Response:
    receipt = await parts.store.accept(webhook, source.name, body, parts.policy(), parts.clock.now())
    parts.wake(receipt.wake)
    metrics = parts.metrics
    metrics.webhook(source.name, "accepted")
    for kind, level, known_level in receipt.changes:
        metrics.change(source.name, kind, level, known_level=known_level)
    for destination, verdict in receipt.decisions:
        metrics.decision(destination, verdict)
    if webhook.oddities:
        await _quarantine(parts, source, body, "; ".join(webhook.oddities))
    return web.json_response({"status": "accepted", "alerts": len(webhook.alerts)})


async def _quarantine(parts: Parts, source: Source, body: bytes, reason: str) -> web.Response:
    try:
        kept = await parts.store.quarantine(body, source.name, reason, parts.clock.now())
    except StoreUnavailable as error:
        return _unavailable(parts, source, str(error))
    parts.metrics.webhook(source.name, "quarantined")
    log.warning("webhook quarantined", source=source.name, reason=reason, id=kept, bytes=len(body))
    return web.json_response({"status": "quarantined", "id": kept, "reason": reason}, status=202)


def _authenticated(request: web.Request, parts: Parts) -> Source:
    try:
        return authenticate(request, parts.sources(), request.match_info.get("source") or None)
    except web.HTTPUnauthorized as refusal:
        parts.metrics.webhook("unknown", "unauthorized")
        log.warning("webhook refused", peer=request.remote, reason=refusal.text)
        headers = {"WWW-Authenticate": refusal.headers["WWW-Authenticate"]}
        raise web.HTTPUnauthorized(
            text=_json_text(status="unauthorized", reason=refusal.text or ""),
            content_type="application/json",
            headers=headers,
        ) from None


async def _read(request: web.Request, parts: Parts, source: Source) -> bytes:
    """The body, decompressed.

    :raises HTTPRequestEntityTooLarge: it is over the limit
    :raises ParseError: its compression or framing is broken
    """
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        parts.metrics.webhook(source.name, "too_large")
        log.warning("webhook too large", source=source.name, limit=parts.max_body)
        reason = f"The body is over the limit of {parts.max_body} bytes (--max-body); or set max_alerts in alertmanager.yml."
        raise web.HTTPRequestEntityTooLarge(
            parts.max_body, request.content_length or 0,
            text=_json_text(status="too large", reason=reason), content_type="application/json",
        ) from None  # fmt: skip
    except (HttpProcessingError, web.RequestPayloadError, zlib.error) as error:
        raise ParseError(f"the body can't be read: {type(error).__name__}") from None


def _unavailable(parts: Parts, source: Source, reason: str) -> web.Response:
    """Alertmanager retries a 5xx with backoff, and again at its next flush."""
    parts.metrics.webhook(source.name, "unavailable")
    log.error("webhook not kept", source=source.name, reason=reason)
    return web.json_response({"status": "unavailable", "reason": reason}, status=503)


def _json_text(**fields: str) -> str:
    return web.json_response(fields).text or ""
