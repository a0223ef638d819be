"""Makes small conversations count as large ones, and builds them without a thread."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class SameThread:
    """In place of :class:`router.threads.Threads`: runs the work immediately, in the caller's thread."""

    def __init__(self, *_: object) -> None:
        pass

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        return work(*arguments)


def large_from(patch: pytest.MonkeyPatch, members: int) -> None:
    """Conversations of more members than this are large, in worlds that are made after this."""
    for module in ("core.rows", "core.claimed_delivery", "core.dead_letter_settling", "store.recording"):
        patch.setattr(f"router.{module}.LARGE", members)
    patch.setattr("router.store.claiming.Threads", SameThread)
