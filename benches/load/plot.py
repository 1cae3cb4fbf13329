"""Draws what was found. Alone: plot.py performance.json performance.svg"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text as outlines looks the same everywhere, and the same figures give the same file.
matplotlib.rcParams.update({
    "svg.fonttype": "path",
    "svg.hashsalt": "hallpass",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "legend.frameon": False,
})

from matplotlib import pyplot  # noqa: E402: after the backend is chosen
from report import short  # noqa: E402

OURS, THEIRS, BARE, MISSED = "#2a6f97", "#b08968", "#9aa5b1", "#c1121f"
METADATA = {"Date": None, "Creator": None}


def draw(found, path):
    rates = found["rates"].get("requests", {})
    targets = found["targets"]
    if not targets:
        return
    heights = [0.22 * len(each) + 0.6 for each in (rates, targets) if each]
    figure, axes = pyplot.subplots(
        len(heights), 1, figsize=(9, sum(heights) + 1), height_ratios=heights, squeeze=False, layout="constrained"
    )
    axes = list(axes[:, 0])
    if rates:
        draw_rates(axes.pop(0), rates)
    draw_targets(axes.pop(0), targets)
    cpu, cores, date = found["machine"]["cpu"], found["machine"]["cores"], found["date"]
    text = f"{cpu}, {cores} cores, {date}. Lines go from the least to the most of all rounds."
    if any(target["disturbed"] for target in targets):
        text += " Hollow: other programs disturbed it."
    figure.supxlabel(text, fontsize=8)
    figure.savefig(path, metadata=METADATA)
    pyplot.close(figure)


def color(name):
    if name.startswith(("GET", "POST")):
        return OURS
    return BARE if name.startswith("bare") else THEIRS


def draw_rates(axes, rates):
    names = sorted(rates, key=lambda name: rates[name]["per_second"][1])
    low, median, high = zip(*(rates[name]["per_second"] for name in names))
    axes.barh(names, median, color=[color(name) for name in names], height=0.72)
    spans = [[m - l for l, m in zip(low, median)], [h - m for m, h in zip(median, high)]]
    axes.errorbar(median, names, xerr=spans, fmt="none", ecolor="#222222", elinewidth=1, capsize=2)
    for name, most, rate in zip(names, high, median):
        axes.text(most * 1.06, name, f"{rate:,.0f}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(low) / 3, max(high) * 2.2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x", color="#e5e5e5", zorder=0)
    axes.set_axisbelow(True)
    colors = {"Hallpass": OURS, "other auth servers": THEIRS, "bare servers": BARE}
    axes.legend([pyplot.Rectangle((0, 0), 1, 1, color=each) for each in colors.values()], colors, loc="lower right")
    axes.set_title("Requests a second on the same cores", loc="left", fontsize=11)


def draw_targets(axes, targets):
    """Each as a part of its target: right of the line is better, whether more or less was wanted."""
    shown = [target for target in reversed(targets) if target["bound"]]
    for place, target in enumerate(shown):
        values = [target[key] for key in ("min", "median", "max")]
        least = target["sign"] == "≥"
        parts = [value / target["bound"] if least else target["bound"] / max(value, 1e-9) for value in values]
        style = OURS if target["met"] else MISSED
        axes.plot([parts[0], parts[2]], [place, place], color=style, linewidth=1.5, alpha=0.5, zorder=2)
        fill = "white" if target["disturbed"] else style
        axes.plot(parts[1], place, "o", color=style, markerfacecolor=fill, markersize=5, zorder=3)
        text = f"{short(values[1])}{target['unit']}, wanted {target['sign']} {target['bound']:,.4g}{target['unit']}"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=style)
    axes.axvline(1, color="#444444", linewidth=1, zorder=1)
    axes.set_yticks(range(len(shown)), [target["name"] for target in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g} ×")
    axes.grid(axis="x", color="#e5e5e5", zorder=0)
    axes.set_title("Against the targets: right of the line is met", loc="left", fontsize=11)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
