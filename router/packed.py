"""Packs texts: bodies, annotations and messages as the store keeps them.

Short texts of one kind have most of their words in common. A preset dictionary of these words saves a third of what is
left after compression. The first byte of a packed text names its format, so that another format can be added and stored
texts stay readable.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# The dictionary is a part of the format, so it never changes. The most frequent words are last, where a reference to
# them takes the fewest bits.
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
"""The largest number of learned dictionaries: the number of a dictionary, from 1, is stored in one byte."""
# Compression saves next to nothing of a shorter text.
_MIN_COMPRESSED_BYTES = 60
# One level more takes 10 % longer and saves 1 %. For large texts, level 1 takes a third of the time.
_LEVEL, _LEVEL_OF_LARGE, _LARGE_BYTES = 6, 1, 64 * 1024
# zlib's default window and tables take 256 KiB, which the allocator requests from the system and returns at each call.
# That takes ten times as long as packing a short text. A window of 16 KiB has room for a dictionary and a text of this
# size.
_SMALL_BYTES = 4 * 1024
_SMALL_WINDOW, _SMALL_MEMORY = 14, 6


@dataclass(frozen=True, slots=True)
class LearnedDictionary:
    """A dictionary that was learned from stored texts; it contains the preset one."""

    number: int
    words: bytes


def dictionary_words(samples: Iterable[bytes]) -> bytes:
    """Return the words of a learned dictionary: the preset ones, and those of the samples."""
    return _DICTIONARY + b"".join(samples)


def pack(data: bytes, learned: LearnedDictionary | None = None) -> bytes:
    """Return a text in its stored form. It takes about 5 us for a kilobyte and 10 ms for a megabyte, without the GIL."""
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
    """Return a compressor for small texts that has read the dictionary. Copy it for each text."""
    # Negative: without a zlib header.
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -_SMALL_WINDOW, _SMALL_MEMORY, zdict=words)


def _large_compressor(size: int, words: bytes) -> Any:
    level = _LEVEL if size < _LARGE_BYTES else _LEVEL_OF_LARGE
    return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=words)


def dictionary_number(packed: bytes) -> int | None:
    """Return the number of the learned dictionary that a text was packed with; None: it was packed without one."""
    return packed[1] if packed[:1] == _COMPRESSED_BY_LEARNED else None


def unpack(packed: bytes, learned: LearnedDictionary | None = None) -> bytes:
    """Return the text that was packed.

    Former versions stored texts without a format byte. These are returned as they are: no JSON text begins with a format
    byte.

    :param learned: the dictionary of :func:`dictionary_number`
    :raises ValueError: the text is damaged
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
        raise ValueError(f"can't unpack the text: {error}") from None
    if not inflate.eof:
        raise ValueError("can't unpack the text: its end is missing")
    return data


def unpack_short(packed: bytes, max_bytes: int) -> bytes | None:
    """Return a text that was packed without a learned dictionary; None: it has more bytes than that. No more are unpacked."""
    if packed[:1] != _COMPRESSED:
        data = unpack(packed)
        return data if len(data) <= max_bytes else None
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_DICTIONARY)
    data = inflate.decompress(packed[1:], max_bytes + 1)
    return data if len(data) <= max_bytes else None
