"""`make hunt`: runs the properties with new examples and the chaos test with new seeds, pass after pass, until one fails.

MINUTES: no pass begins after this time (not set: until Ctrl-C). SEED: repeat one pass, the one with this seed.
"""

import itertools
import os
import subprocess
import sys
import time
from random import SystemRandom

PYTEST = (
    "-m", "pytest", "-q", "-n", "auto", "--dist", "load", "--maxschedchunk", "1", "-m", "hypothesis or hunt", "--hypothesis-profile=hunt",
    "--timeout=3600",  # a pass has many more examples
)  # fmt: skip


def main() -> int:
    minutes, seed = float(os.environ.get("MINUTES") or "inf"), os.environ.get("SEED")
    clock = time.monotonic  # real time: MINUTES are minutes of the person who waits
    end = clock() + 60 * minutes
    for number in itertools.count(1):
        pass_seed = seed or str(SystemRandom().randrange(2**32))
        print(f"Pass {number}, SEED={pass_seed}", flush=True)  # noqa: T201
        finished = subprocess.run(
            [sys.executable, *PYTEST, f"--hypothesis-seed={pass_seed}", *sys.argv[1:]],
            env={**os.environ, "CHAOS_SEED": pass_seed},
            check=False,
        )
        if finished.returncode:
            print(f"To repeat it: make hunt SEED={pass_seed} ARGS=tests/…::test_…")  # noqa: T201
            return finished.returncode
        if seed or clock() > end:
            break
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
