"""Records histories of the present store, or replays the recorded ones.

python -m tests.histories record --seed N --count N   invents COUNT histories, starting with SEED, and replaces the data
python -m tests.histories replay [SEED …]             replays all, or these, and shows where the store differs;
                                                      --every N: one history in N
                                                      --postgresql: on a server that the command starts
"""

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from tests.histories.compare import Comparison
from tests.histories.data import FOLDER, Recorded, load, save
from tests.histories.differences import DIFFERENCES
from tests.histories.generate import history
from tests.histories.replay import play_each, replay
from tests.postgresql import Server, server

_SHOWN_PROBLEMS = 3
"""More problems are only counted."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.histories",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--seed", type=int, default=1)
    recording.add_argument("--count", type=int, default=2_000)
    recording.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER")
    replaying = commands.add_parser("replay")
    replaying.add_argument("seeds", type=int, nargs="*", metavar="SEED")
    replaying.add_argument("--every", type=int, default=1, metavar="N")
    replaying.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    if given.command == "record":
        save(asyncio.run(_record(given.seed, given.count)), given.to)
        return 0
    with server() if given.postgresql else nullcontext() as started:
        return asyncio.run(_replay(set(given.seeds), given.every, started))


async def _record(seed: int, count: int) -> list[Recorded]:
    invented = map(history, range(seed, seed + count))
    return [{**each, "results": results} async for each, results in play_each(invented)]


async def _replay(seeds: set[int], every: int, on: Server | None) -> int:
    found: list[Comparison] = []
    async for _, comparison in replay(
        (each for each in load(every=every) if not seeds or each["seed"] in seeds), on
    ):
        found.append(comparison)
    problems = [each.problem for each in found if each.problem]
    needed = Counter(what for each in found for what in each.needed)
    print(*problems[:_SHOWN_PROBLEMS], sep="\n\n")  # noqa: T201
    print(f"{len(found)} histories, {len(problems)} differ")  # noqa: T201
    for each in DIFFERENCES:
        print(f"  {needed[each.what]} differ as intended: {each.what}")  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
