"""Makes docs/examples/: ``python -m tests.sample_day``, or ``make examples``."""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.sample_day.playing import played
from tests.sample_day.reports import reports_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


async def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        async with played(Path(folder)) as day:
            for name, text in (await reports_of(day)).items():
                (EXAMPLES / name).write_text(text)
                print(EXAMPLES / name)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
