"""The body of a webhook: as it came, and inflated within bounds.

The server leaves bodies compressed (``make_runner``), so that one that can't be used is kept with the bytes that
arrived. They are inflated here, in a thread of their own: a few kilobytes can hold a thousand times as much.
"""

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web

from router.parse import ParseError

# https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
UNDERSTOOD = "gzip, deflate"
# Real bodies have one gzip member; each costs a decompressor.
_MOST_MEMBERS = 1_000
# A decompressor copies what follows its member: a small window bounds that.
_WINDOW = 64 * 1024
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Body:
    raw: bytes = b""
    """The bytes as they came."""
    encoding: str | None = None
    """How they are compressed: gzip or deflate; None: not at all."""


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


async def inflated(body: Body, limit: int, threads: ThreadPoolExecutor) -> bytes:
    """What the body says, decompressed.

    :raises ParseError: it is not what its Content-Encoding says
    :raises HTTPRequestEntityTooLarge: it is over the limit, in bytes
    """
    if body.encoding is None:
        return body.raw
    return await asyncio.get_running_loop().run_in_executor(threads, _inflate, body, limit)


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
