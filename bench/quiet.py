"""The service as ``serve`` runs it, on a free port that it prints: ``python -m bench.quiet RULES DATABASE``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from router import logs
from router.app import Options, Service


async def serve(rules: str, database: str) -> None:
    logs.configure("json", "error")
    service = Service(Options(Path(rules), ("127.0.0.1", 0), database=database, drain=0), os.environ)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await service.start()
    print(service.url, flush=True)
    await stop.wait()
    await service.stop()


asyncio.run(serve(sys.argv[1], sys.argv[2]))
