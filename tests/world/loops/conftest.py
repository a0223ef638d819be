"""What depends on the event loop: these tests run on asyncio's and on the one that the service runs on."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from router.loop import new_loop


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "as served": new_loop}
