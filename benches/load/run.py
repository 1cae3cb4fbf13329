"""The load harness: `make load`; docs/PERFORMANCE.md says how to read it.

Starts the release binary and its peers as processes on loopback, on the first half of the cores, sends them load from
the other half in turns, and prints ratios. The exit status is 0 whether targets are met or not, and 1 if something
could not be measured.
"""

import argparse
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import machine
import plot
import servers
import wrk
from report import Report
from sections import SECTIONS

ROOT = Path(__file__).parents[2]


@dataclass
class Bench:
    """What the sections share."""

    hallpass: Path
    bare: Path
    # On a disk: a login waits for its commit to be on it.
    folder: Path
    report: Report
    quick: bool
    storm_seconds: int


def arguments():
    parser = argparse.ArgumentParser(description="Measures Hallpass beside other servers.")
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="short rounds, for working on the harness")
    parser.add_argument("--storm", type=int, metavar="SECONDS", help="how long the storm lasts (300; quick: 20)")
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    parser.add_argument("--target", type=Path, default=target, help="where cargo built")
    parser.add_argument("--out", type=Path, help="for performance.json and .svg (docs; of a part, target/load)")
    given = parser.parse_args()
    is_whole = not given.quick and not given.only
    given.out = given.out or ROOT / ("docs" if is_whole else "target/load")
    given.only = given.only.split(",") if given.only else list(SECTIONS)
    unknown = [name for name in given.only if name not in SECTIONS]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}")
    return given


def main():
    given = arguments()
    wrk.check()
    release = given.target.resolve() / "release"
    folder = ROOT / "target" / "load" / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report = Report(given.quick)
    storm = given.storm or (20 if given.quick else 300)
    bench = Bench(release / "hallpass", release / "examples" / "bare", folder, report, given.quick, storm)
    for binary in (bench.hallpass, bench.bare):
        if not binary.exists():
            raise wrk.Failed(f"{binary} was not built; see `make load`")
    if len(machine.CORES) < 2:
        print("One core: the load takes its time from what it measures. These figures compare with no others.")
    if machine.filesystem(folder) == "tmpfs":
        print("The databases are in memory: what waits for the disk compares with no other figures.")
    machine.keep_off()
    begun = time.monotonic()
    try:
        for name, section in SECTIONS.items():
            if name in given.only:
                bench.folder = folder / name
                bench.folder.mkdir()
                section.run(bench)
                servers.stop_all()
    finally:
        servers.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
    report.table()
    print(f"\n{time.monotonic() - begun:.0f} s")
    given.out.mkdir(parents=True, exist_ok=True)
    plot.draw(report.write(given.out / "performance.json"), given.out / "performance.svg")


if __name__ == "__main__":
    try:
        main()
    except wrk.Failed as failed:
        print(failed, file=sys.stderr)
        sys.exit(1)
