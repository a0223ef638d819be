"""``make bench``: all rows in one run; ``make bench ARGS="--only ingest --quick"`` for one of them, small."""

import argparse
import asyncio
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import (
    bounds,
    cost,
    databases,
    disk,
    end_to_end,
    group,
    ingest,
    observed,
    pages,
    passed,
    profile,
    report,
    takeover,
)
from bench.machine import LOAD_CORE, ROOT
from bench.run import QUICK, Bench, Scale, say

RESULTS = ROOT / "bench" / "results"
ROWS = {
    "burst": end_to_end.burst,
    "steady": end_to_end.steady,
    "ingest": ingest.ingest,
    "hundreds": ingest.ingest_hundreds,
    "postgresql": databases.ingest_beside,
    "postgresql-steady": databases.steady,
    "batches": databases.batches,
    "replicas": databases.replicas,
    "kept": databases.kept,
    "observed": observed.observed,
    "size": cost.size,
    "routes": cost.routes,
    "ledger": cost.long_ledger,
    "pages": pages.pages,
    "group": group.big_group,
    "disk": disk.disk,
    "bounds": bounds.under_load,
    "takeover": takeover.takeover,
    "passed": passed.passed,
    "profile": profile.profile,
}


async def run(bench: Bench, names: list[str]) -> None:
    for name in names:
        await bench.row(name, ROWS[name])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument("--only", action="append", choices=ROWS, help="a row; may be given several times")
    parser.add_argument("--quick", action="store_true", help="small and short, to try the bench itself")
    parser.add_argument(
        "--rounds", type=int, help="how often each comparison is made; otherwise 5, or 2 if quick"
    )
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("only Linux can pin a process to a core, and say what it used")
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C, which stops the started processes
    os.sched_setaffinity(0, {LOAD_CORE})
    gc.disable()  # a pause of the load generator would count as latency
    factory: Any = (
        importlib.import_module("uvloop").new_event_loop if importlib.util.find_spec("uvloop") else None
    )
    with tempfile.TemporaryDirectory(prefix="alert-router-bench-") as folder:
        scale = QUICK if options.quick else Scale()
        bench = Bench(replace(scale, rounds=options.rounds or scale.rounds), Path(folder))
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run(bench, options.only or list(ROWS)))
    # Only a complete run replaces the page of the docs.
    whole = not options.only and not options.quick
    folder_of_page = ROOT / "docs" if whole else RESULTS
    RESULTS.mkdir(exist_ok=True)
    command = "make bench" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else "")
    (RESULTS / "results.json").write_text(json.dumps([each.as_json() for each in bench.measures], indent=1))
    (folder_of_page / "performance.md").write_text(report.page(bench, command))
    (folder_of_page / report.PLOT).write_text(report.plot(bench.measures))
    print(report.table(bench.measures))
    say(
        f"Written: {folder_of_page.relative_to(ROOT)}/performance.md, {RESULTS.relative_to(ROOT)}/results.json"
    )


main()
