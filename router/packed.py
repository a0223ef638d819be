"""Texts made small: bodies, annotations and messages as the store keeps them.

Short texts of one kind have most of their words in common. A dictionary of these saves a third of what is left after
compression. The first byte says how the rest is written, so that a better way can be added: what is kept stays readable.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# The dictionary is a part of the format: it never changes. The most frequent words stand last, where they cost least.
_DICTIONARY = (
    b'{"channel":"discord","body":{"messages":[{"content":"","embeds":[{"title":"","description":"**Critical** \\u00b7 1 firing \\u00b7 ","color":'
    b'13971518,"fields":[{"name":"Links","value":"[Source](<https:// [Silence](<https://","inline":false}],"footer":'
    b'{"text":"via "}}],"plain":"","allowed_mentions":{"parse":[]}}]}{"channel":"pagerduty","body":{"event_action":"trigger","dedup_key":"","payload":'
    b'{"summary":"","source":"","severity":"critical","timestamp":"","group":"","class":"","custom_details":{"firing":[{'
    b'"labels":{"annotations":{"summary":""},"since":"2026-"}],"resolved":[],"counts":{"firing":1,"resolved":0}}},"links":'
    b'[{"href":"","text":"Source"},{"href":"","text":"Silence"}],"client":"alert-router","client_url":"{"channel":"slack","body":{"channel":"",'
    b'"text":"\\ud83d\\udd25 CRITICAL: ","plain":"\\ud83d\\udd34 \\u00b7 since ","blocks":[],"attachments":[{"color":'
    b'"#d5303e","blocks":[{"type":"header","text":{"type":"plain_text","text":"","emoji":true}},{"type":"section","text":'
    b'{"type":"mrkdwn","text":"*Critical* \\u00b7 1 firing \\u00b7 "}},{"type":"actions","elements":[{"type":"button",'
    b'"text":{"type":"plain_text","text":"Source"},"url":"https:// /graph?g0.expr=","action_id":"open-source"},{"type":'
    b'"button","text":{"type":"plain_text","text":"Silence"},"url":"/#/silences/new?filter=%7Balertname%3D%22%22%2C%22%7D",'
    b'"action_id":"open-silence"}]},{"type":"context","elements":[{"type":"mrkdwn","text":"via \\u00b7 "}]}],"fallback":'
    b'""}],"thread":null,"broadcast":true,"parts":[]}{"channel":"webhook","body":{"version":"4","groupKey":"{}:{alertname=\\"","truncatedAlerts":0,'
    b'"status":"firing","receiver":"","groupLabels":{"commonLabels":{"alertname":"","severity":"critical","warning","info",'
    b'"namespace":"","cluster":"","instance":"","job":"","pod":"","container":"","commonAnnotations":{"summary":"",'
    b'"description":"","runbook_url":"https://runbooks.prometheus-operator.dev/runbooks/","externalURL":'
    b'"http://alertmanager:9093","alerts":[{"status":"resolved","labels":{"alertname":"","annotations":{"summary":"",'
    b'"startsAt":"2026-01-01T00:00:00.000Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":'
    b'"http://prometheus:9090/graph?g0.expr=","fingerprint":"'
)
_UNCOMPRESSED, _COMPRESSED, _COMPRESSED_BY_LEARNED = b"\x00", b"\x01", b"\x02"
MAX_DICTIONARIES = 255
"""A number is one byte."""
# Of a shorter text, next to nothing is saved.
_MIN_COMPRESSED_BYTES = 60
# A level higher takes a tenth longer and saves a hundredth. Of much text, the lowest takes a third of the time.
_LEVEL, _LEVEL_OF_LARGE, _LARGE_BYTES = 6, 1, 64 * 1024
# zlib's usual window and tables are 256 KiB, which the allocator takes from the system and gives back at each call: that
# takes ten times as long as packing a short text. In 16 KiB, a dictionary and a text of so many bytes have room.
_SMALL_BYTES = 4 * 1024
_SMALL_WINDOW, _SMALL_MEMORY = 14, 6


@dataclass(frozen=True, slots=True)
class LearnedDictionary:
    """A dictionary that knows more than the one above."""

    number: int
    words: bytes


def dictionary_words(samples: Iterable[bytes]) -> bytes:
    """What a learned dictionary is made of."""
    return _DICTIONARY + b"".join(samples)


def pack(data: bytes, learned: LearnedDictionary | None = None) -> bytes:
    """As it is kept. About 5 us for a kilobyte, 10 ms for a megabyte, in which other threads run."""
    if not data:
        return data
    if len(data) >= _MIN_COMPRESSED_BYTES:
        how, words = _COMPRESSED, _DICTIONARY
        if learned is not None:
            how, words = _COMPRESSED_BY_LEARNED + bytes([learned.number]), learned.words
        deflate = (
            _small_compressor(words).copy()
            if len(data) <= _SMALL_BYTES
            else _large_compressor(len(data), words)
        )
        packed: bytes = how + deflate.compress(data) + deflate.flush()
        if len(packed) <= len(data):
            return packed
    return _UNCOMPRESSED + data


@lru_cache(4)
def _small_compressor(words: bytes) -> Any:
    """A compressor of small texts that has read the dictionary; it is copied for each text."""
    # Negative: without a header.
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -_SMALL_WINDOW, _SMALL_MEMORY, zdict=words)


def _large_compressor(size: int, words: bytes) -> Any:
    level = _LEVEL if size < _LARGE_BYTES else _LEVEL_OF_LARGE
    return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=words)


def dictionary_number(packed: bytes) -> int | None:
    """Of the learned dictionary that it was packed with; None: it was packed without."""
    return packed[1] if packed[:1] == _COMPRESSED_BY_LEARNED else None


def unpack(packed: bytes, learned: LearnedDictionary | None = None) -> bytes:
    """What was packed, with the dictionary of :func:`dictionary_number`. What a former version kept as it came, which no text of JSON begins like, stays as it is.

    :raises ValueError: it is damaged
    """
    how = packed[:1]
    if how == _UNCOMPRESSED:
        return packed[1:]
    start, words = 1, _DICTIONARY
    if how == _COMPRESSED_BY_LEARNED and learned is not None:
        start, words = 2, learned.words
    elif how != _COMPRESSED:
        return packed
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=words)
    try:
        data = inflate.decompress(packed[start:])
    except zlib.error as error:
        raise ValueError(f"it can't be unpacked: {error}") from None
    if not inflate.eof:
        raise ValueError("it can't be unpacked: its end is missing")
    return data
