"""The body of a webhook: as it came, inflated, and parsed. All of it is bounded, and nobody waits for a large body.

The server leaves bodies compressed (``make_runner``), so that one that can't be used is kept with the bytes that
arrived. They are inflated in a thread of their own: a few kilobytes can hold a thousand times as much. A large body is
parsed in pieces on the loop, which does its other work in between. A thread would not help, because parsing holds the
interpreter's lock; from another process, taking over the result would take as long as parsing.
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

SMALL = 128 * 1024
"""Bytes. Up to here a body is parsed in one go: some hundred alerts, in a few milliseconds."""
# At one go of a large body, in seconds.
_PIECE = 0.002
# https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
UNDERSTOOD = "gzip, deflate"
# Real bodies have one gzip member; each costs a decompressor.
_MOST_MEMBERS = 1_000
# A decompressor copies what follows its member: a small window bounds that.
_WINDOW = 64 * 1024
_LONGEST_SHOWN = 100


@dataclass(slots=True)
class Body:
    raw: bytes = b""
    """The bytes as they came."""
    encoding: str | None = None
    """How they are compressed: gzip or deflate; None: not at all."""
    plain: bytes = b""
    """What they say, inflated."""
    held: int = 0
    """How many bytes it counts for at :class:`Intake`."""


class TooMany(Exception):  # noqa: N818  (says what it is)
    """There is no room for the body beside those that are being taken in."""


class UnknownEncoding(Exception):  # noqa: N818  (named as HTTP names it)
    """The Content-Encoding is one that can't be inflated here; says what can."""


def encoding_of(request: web.Request) -> str | None:
    """How the body is compressed, by its header: gzip, deflate, or None.

    :raises UnknownEncoding:
    """
    given = ",".join(request.headers.getall("Content-Encoding", ()))
    words = [word for part in given.split(",") if (word := part.strip().lower()) not in {"", "identity"}]
    if not words:
        return None
    if len(words) == 1 and words[0] in _ENCODINGS:
        return _ENCODINGS[words[0]]
    shown = ascii(given[:_LONGEST_SHOWN])
    problem = "is stacked" if all(word in _ENCODINGS for word in words) else "is not understood"
    raise UnknownEncoding(
        f"the Content-Encoding {shown} {problem}; send one of {UNDERSTOOD}, or the body as it is (identity)"
    )


class Intake:
    """Reads and parses bodies. Bounds the bytes of all bodies at once: as announced or as they came, and inflated."""

    def __init__(self, max_body: int, in_flight: int, read_seconds: float) -> None:
        self._max_body = max_body
        self._read_seconds = read_seconds
        self._most = max(in_flight, 4 * max_body)
        self._held = 0
        self._refused = 0
        self._inflating = ThreadPoolExecutor(1, "inflate")
        self._turn = asyncio.Lock()

    def close(self) -> None:
        self._inflating.shutdown(wait=False, cancel_futures=True)

    async def read(self, request: web.Request, body: Body) -> None:
        """:raises UnknownEncoding:
        :raises HTTPRequestEntityTooLarge: it is over the limit
        :raises TooMany:
        :raises TimeoutError: it did not come in time
        """
        if hdrs.CONTENT_ENCODING in request.headers:
            body.encoding = encoding_of(request)
        content, announced = request.content, request.content_length
        if announced is not None:
            if announced > self._max_body:
                raise web.HTTPRequestEntityTooLarge(self._max_body, announced)
            self._hold(body, announced)
            if content.is_eof():  # as nearly always: it came with the head
                body.raw = content.read_nowait()
                return
        chunks, came = [], 0
        async with asyncio.timeout(self._read_seconds):
            while chunk := await content.readany():
                came += len(chunk)
                if came > self._max_body:
                    raise web.HTTPRequestEntityTooLarge(self._max_body, came)
                if came > body.held:
                    self._hold(body, came - body.held)
                chunks.append(chunk)
        body.raw = b"".join(chunks)

    async def parse(self, body: Body, now: Millis, sender: str) -> Webhook:
        """:raises ParseError:
        :raises HTTPRequestEntityTooLarge: it is over the limit once inflated
        :raises TooMany:
        """
        body.plain = body.raw
        if body.encoding is not None:
            loop = asyncio.get_running_loop()
            body.plain = await loop.run_in_executor(self._inflating, _inflate, body, self._max_body)
            self._hold(body, len(body.plain))
        if len(body.plain) <= SMALL:
            return parse_webhook(body.plain, now, sender)
        pieces = parse_in_pieces(body.plain, now, sender)
        while True:
            # Large bodies take turns: the loop does one piece a round, however many bodies come at once.
            async with self._turn:
                until = time.perf_counter() + _PIECE
                try:
                    while time.perf_counter() < until:
                        next(pieces)
                except StopIteration as end:
                    webhook: Webhook = end.value
                    return webhook
                await asyncio.sleep(0)

    def let_go(self, body: Body) -> None:
        """It is answered."""
        self._held -= body.held
        if self._refused and self._held <= self._most // 2:
            log.warning("there is room for webhooks again", refused=self._refused)
            self._refused = 0

    def _hold(self, body: Body, size: int) -> None:
        """Large bodies leave room for small ones: as much as one of the largest size takes. :raises TooMany:"""
        most = self._most if body.held + size <= SMALL else self._most - self._max_body
        if self._held + size > most:
            if not self._refused:  # said once, not for each of thousands
                log.error("webhooks refused: too many bytes at once", bytes=self._held, most=self._most)
            self._refused += 1
            raise TooMany(
                f"other webhooks of {self._held} bytes are being taken in, and {most} may be at once"
            )
        self._held += size
        body.held += size


def _inflate(body: Body, limit: int) -> bytes:
    if body.encoding == "gzip":
        return _members(body, 16 + zlib.MAX_WBITS, limit, _MOST_MEMBERS)
    try:
        return _members(body, zlib.MAX_WBITS, limit, 1)
    except ParseError:
        # Some send the stream without the header that the standard wants.
        try:
            return _members(body, -zlib.MAX_WBITS, limit, 1)
        except ParseError:
            pass
        raise


def _members(body: Body, window_bits: int, limit: int, most: int) -> bytes:
    raw, out, position, count = memoryview(body.raw), bytearray(), 0, 0
    while position < len(raw):
        if count == most:
            raise ParseError(
                f"the body can't be inflated: {len(raw) - position} bytes follow its {body.encoding} data"
            )
        count += 1
        begin, stream = position, zlib.decompressobj(window_bits)
        while not stream.eof:
            window = raw[position : position + _WINDOW]
            if not window:
                raise ParseError(
                    f"the body can't be inflated: it ends in the middle of its {body.encoding} data"
                )
            try:
                # One byte more than there may be tells that there are too many.
                out += stream.decompress(window, limit + 1 - len(out))
            except zlib.error as error:
                where = f"what begins at byte {begin}" if begin else "it"
                raise ParseError(
                    f"the body can't be inflated: {where} is not {body.encoding}: {error}"
                ) from None
            if len(out) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(out))
            position += len(window) - len(stream.unused_data)
    return bytes(out)
