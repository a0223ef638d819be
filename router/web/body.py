"""Reads, inflates and parses the body of a webhook. Every step is bounded, and a large body delays no other work.

The server leaves bodies compressed (``make_runner``), so that a body in quarantine has the bytes that arrived. Bodies
are inflated in a separate thread: a few kilobytes can inflate to a thousand times as much. A large body is parsed in
pieces on the event loop, which does its other work in between. A thread would not help, because parsing holds the
interpreter's lock. Another process would not help, because reading its result takes as long as parsing.
"""

import asyncio
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from router.model import Millis, Webhook
from router.parse import ParseError, parse_in_pieces, parse_webhook

log = structlog.get_logger(__name__)

SMALL_BODY_BYTES = 128 * 1024
"""Up to this size a body is parsed in one step: some hundred alerts, in a few milliseconds."""
_PARSE_STEP_SECONDS = 0.002
# Bodies larger than this are parsed and stored one after the other, because the objects of each take several times the
# memory of its bytes.
_HUGE_BODY_BYTES = 2 * 2**20
# https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
SUPPORTED_ENCODINGS = "gzip, deflate"
# Real bodies have one gzip member. Each member costs a decompressor.
_MAX_GZIP_MEMBERS = 1_000
# A decompressor copies the bytes after its member. A small window bounds that copy.
_WINDOW_BYTES = 64 * 1024
_MAX_SHOWN_CHARS = 100


@dataclass(slots=True)
class Body:
    """A body of a webhook while it is read and parsed."""

    raw: bytes = b""
    """The bytes that arrived."""
    encoding: str | None = None
    """How they are compressed: gzip or deflate; None: they are not compressed."""
    plain: bytes = b""
    """The inflated bytes."""
    held: int = 0
    """How many bytes of the limit of :class:`Intake` it uses."""
    is_huge: bool = False
    """It is the one huge body that is being parsed and stored."""

    def handed_over(self) -> "Body":
        """Return a body that uses the limit in place of this one, and has no bytes."""
        other = Body(held=self.held, is_huge=self.is_huge)
        self.held, self.is_huge = 0, False
        return other


class TooManyBytes(Exception):  # noqa: N818  (names the condition)
    """The bodies that are being read reach the limit, so that another one is refused."""


class UnknownEncoding(Exception):  # noqa: N818  (named as HTTP names it)
    """The Content-Encoding is not supported. The message names the supported ones."""


def encoding_of(request: web.Request) -> str | None:
    """Return how the body is compressed, by its header: gzip, deflate, or None.

    :raises UnknownEncoding:
    """
    given = ",".join(request.headers.getall("Content-Encoding", ()))
    words = [word for part in given.split(",") if (word := part.strip().lower()) not in {"", "identity"}]
    if not words:
        return None
    if len(words) == 1 and words[0] in _ENCODINGS:
        return _ENCODINGS[words[0]]
    shown = ascii(given[:_MAX_SHOWN_CHARS])
    problem = "is stacked" if all(word in _ENCODINGS for word in words) else "is not understood"
    raise UnknownEncoding(
        f"the Content-Encoding {shown} {problem}; send one of {SUPPORTED_ENCODINGS}, or the body as it is (identity)"
    )


class Intake:
    """Reads and parses bodies. One limit bounds the bytes of all bodies that are read at the same time. A body counts with the
    bytes that its Content-Length announces, or that have arrived if these are more, and with its bytes after decompression.
    """

    def __init__(self, max_body: int, in_flight: int, read_seconds: float) -> None:
        self._max_body = max_body
        self._read_seconds = read_seconds
        self._max_held = max(in_flight, 4 * max_body)
        self._held = 0
        self._refused = 0
        self._inflating = ThreadPoolExecutor(1, "inflate")
        self._turn = asyncio.Lock()
        self._one_huge = asyncio.Lock()

    def close(self) -> None:
        self._inflating.shutdown(wait=False, cancel_futures=True)

    async def read(self, request: web.Request, body: Body) -> None:
        """Read the bytes of a request into a body.

        :raises UnknownEncoding:
        :raises HTTPRequestEntityTooLarge: it is over the limit
        :raises TooManyBytes:
        :raises TimeoutError: it did not arrive in time
        """
        if hdrs.CONTENT_ENCODING in request.headers:
            body.encoding = encoding_of(request)
        content, announced = request.content, request.content_length
        if announced is not None:
            if announced > self._max_body:
                raise web.HTTPRequestEntityTooLarge(self._max_body, announced)
            self._hold(body, announced)
            if content.is_eof():  # the usual case: it arrived with the headers
                body.raw = content.read_nowait()
                return
        chunks, arrived = [], 0
        async with asyncio.timeout(self._read_seconds):
            while chunk := await content.readany():
                arrived += len(chunk)
                if arrived > self._max_body:
                    raise web.HTTPRequestEntityTooLarge(self._max_body, arrived)
                if arrived > body.held:
                    self._hold(body, arrived - body.held)
                chunks.append(chunk)
        body.raw = b"".join(chunks)

    async def parse(self, body: Body, now: Millis, sender: str) -> Webhook:
        """Inflate and parse a body.

        :param now: epoch ms
        :param sender: the address of the peer
        :raises ParseError:
        :raises HTTPRequestEntityTooLarge: it is over the limit once inflated
        :raises TooManyBytes:
        """
        body.plain = body.raw
        if body.encoding is not None:
            loop = asyncio.get_running_loop()
            body.plain = await loop.run_in_executor(self._inflating, _inflate, body, self._max_body)
            self._hold(body, len(body.plain))
        if len(body.plain) <= SMALL_BODY_BYTES:
            return parse_webhook(body.plain, now, sender)
        if len(body.plain) > _HUGE_BODY_BYTES:
            await self._one_huge.acquire()
            body.is_huge = True
        pieces = parse_in_pieces(body.plain, now, sender)
        while True:
            # Large bodies take turns. So each iteration of the event loop runs one step, however many bodies there are.
            async with self._turn:
                until = time.perf_counter() + _PARSE_STEP_SECONDS
                try:
                    while time.perf_counter() < until:
                        next(pieces)
                except StopIteration as end:
                    webhook: Webhook = end.value
                    return webhook
                await asyncio.sleep(0)

    def release(self, body: Body) -> None:
        """Stop counting the bytes of a body, when its webhook is answered. Call it once for each body."""
        self._held -= body.held
        if body.is_huge:
            self._one_huge.release()
        if self._refused and self._held <= self._max_held // 2:
            log.warning(
                "webhooks are accepted again after too many bytes were being read", refused=self._refused
            )
            self._refused = 0

    def _hold(self, body: Body, size: int) -> None:
        """Count more bytes for a body. Large bodies must not use the last ``max_body`` bytes of the limit; small bodies
        can.

        :raises TooManyBytes:
        """
        limit = self._max_held if body.held + size <= SMALL_BODY_BYTES else self._max_held - self._max_body
        if self._held + size > limit:
            if not self._refused:  # logged once, not for every refused webhook
                log.error(
                    "webhooks refused: too many bytes are being read",
                    status="refused",
                    bytes=self._held,
                    limit=limit,
                )
            self._refused += 1
            raise TooManyBytes(
                f"other webhooks of {self._held} bytes are being read, and the limit is {limit} bytes"
            )
        self._held += size
        body.held += size


def _inflate(body: Body, limit: int) -> bytes:
    if body.encoding == "gzip":
        return _members(body, 16 + zlib.MAX_WBITS, limit, _MAX_GZIP_MEMBERS)
    try:
        return _members(body, zlib.MAX_WBITS, limit, 1)
    except ParseError:
        # Some senders leave out the header that the standard requires.
        try:
            return _members(body, -zlib.MAX_WBITS, limit, 1)
        except ParseError:
            pass
        raise


def _members(body: Body, window_bits: int, limit: int, max_members: int) -> bytes:
    raw, out, position, count = memoryview(body.raw), bytearray(), 0, 0
    while position < len(raw):
        if count == max_members:
            raise ParseError(
                f"the body can't be inflated: {len(raw) - position} bytes follow its {body.encoding} data"
            )
        count += 1
        begin, stream = position, zlib.decompressobj(window_bits)
        while not stream.eof:
            window = raw[position : position + _WINDOW_BYTES]
            if not window:
                raise ParseError(
                    f"the body can't be inflated: it ends in the middle of its {body.encoding} data"
                )
            try:
                # One byte over the limit shows that there are too many.
                out += stream.decompress(window, limit + 1 - len(out))
            except zlib.error as error:
                where = f"the data at byte {begin}" if begin else "it"
                raise ParseError(
                    f"the body can't be inflated: {where} is not {body.encoding}: {error}"
                ) from None
            if len(out) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(out))
            position += len(window) - len(stream.unused_data)
    return bytes(out)
