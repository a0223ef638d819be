"""`make hunt`: the properties with other examples at each pass, and the chaos with other dice, until one fails.

MINUTES: no pass begins after so many (none: until Ctrl-C). SEED: one pass, played as the one that had this seed.
"""

import itertools
import os
import subprocess
import sys
import time
from random import SystemRandom

PYTEST = (
    "-m", "pytest", "-q", "-n", "auto", "--dist", "load", "--maxschedchunk", "1", "-m", "hypothesis or hunt", "--hypothesis-profile=hunt",
    "--timeout=3600",  # ten times the examples
)  # fmt: skip


def main() -> int:
    minutes, seed = float(os.environ.get("MINUTES") or "inf"), os.environ.get("SEED")
    clock = time.monotonic  # real time: MINUTES are those of whoever waits
    end = clock() + 60 * minutes
    for number in itertools.count(1):
        dice = seed or str(SystemRandom().randrange(2**32))
        print(f"Pass {number}, SEED={dice}", flush=True)  # noqa: T201
        played = subprocess.run(
            [sys.executable, *PYTEST, f"--hypothesis-seed={dice}", *sys.argv[1:]],
            env={**os.environ, "CHAOS_SEED": dice},
            check=False,
        )
        if played.returncode:
            print(f"The same again: make hunt SEED={dice} ARGS=tests/…::test_…")  # noqa: T201
            return played.returncode
        if seed or clock() > end:
            break
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
