"""Saves and loads recorded histories: one line of JSON each, with its results, in a few compressed files."""

import gzip
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

History = dict[str, Any]
"""``seed``, ``policy`` (its name), ``start`` (seconds since Monday), ``alerts`` (labels by name), ``groups`` (source and
labels by name), ``steps``.
"""
Step = dict[str, Any]
"""``do`` (see ``play``), and its arguments. Times and durations are in seconds."""
JobResult = dict[str, Any]
"""What the store showed after a step, or at the end."""
Recorded = dict[str, Any]
"""A history with its ``results``: one for each step, and one for the end."""

FOLDER = Path(__file__).parent / "data"
_HISTORIES_PER_FILE = 500


def save(several: Iterable[Recorded], folder: Path = FOLDER) -> None:
    """Replace the files in the folder. The same histories give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jsonl.gz"):
        old.unlink()
    left = iter(several)
    number = 0
    while some := list(islice(left, _HISTORIES_PER_FILE)):
        lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in some)
        (folder / f"{number:02}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
        number += 1


def load(folder: Path = FOLDER, *, first: int = 0, every: int = 1) -> Iterator[Recorded]:
    """Yield every ``every``-th history, starting with number ``first``."""
    yield from map(json.loads, islice(_lines(folder), first, None, every))


def _lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        yield from gzip.decompress(path.read_bytes()).splitlines()
