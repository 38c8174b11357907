"""Accuracies over the trials of a search, a histogram for each method, all on the same axes."""

import math
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.drawing import style
from experiments.series import Trials
from experiments.words import label

COLUMNS = 3
BINS = 20  # at most
BIN_WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5)  # percent


@style.look
def draw(title: str, searches: list[Trials]) -> Figure:
    """Axes for each search."""
    columns = min(COLUMNS, len(searches))
    figure, rows = style.axes(-(-len(searches) // columns), columns, 1.55, sharex=True, sharey=True)
    edges = bins([accuracy for search in searches for accuracy in search.accuracies])
    places = [axis for row in rows for axis in row]
    for axis, search in zip(places, searches, strict=False):
        _plot(axis, search, edges)
    for axis in places[len(searches) :]:
        axis.remove()
    for axis in places[max(0, len(searches) - columns) : len(searches)]:
        axis.tick_params(labelbottom=True)  # also where the row below is not full
    figure.suptitle(title, fontsize=9, x=0.01, ha='left')
    figure.supxlabel('test accuracy (%)', fontsize=9)
    figure.supylabel('trials', fontsize=9)
    return figure


def bins(accuracies: list[float]) -> list[float]:
    """Edges that hold all accuracies, at multiples of a round width."""
    low, high = min(accuracies, default=0), max(accuracies, default=100)
    for width in BIN_WIDTHS:
        first, last = math.floor(low / width), math.floor(high / width) + 1
        if last - first <= BINS:
            break
    return [width * number for number in range(first, last + 1)]


def _plot(axis: Axes, search: Trials, edges: list[float]) -> None:
    colour = style.colour(search.method)
    axis.hist(
        search.accuracies, edges, facecolor='white', edgecolor=colour,
        hatch=style.hatch(search.method) * 2, linewidth=1.0,
    )  # fmt: skip
    axis.set_title(label(search.method), loc='left')
    axis.set_xlim(edges[0], edges[-1])
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    count = len(search.accuracies) + search.diverged
    lines = [f'{count} trials' if count > 1 else '1 trial', f'{search.diverged} diverged']
    if search.accuracies:
        median = statistics.median(search.accuracies)
        axis.axvline(median, color='black', linestyle=(0, (2, 1.5)), linewidth=1.0)
        lines.append(f'median {median:.1f} %')
    axis.text(
        0.03, 0.95, '\n'.join(lines), transform=axis.transAxes, fontsize=8, va='top',
        bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.85, 'pad': 1.0},
    )  # fmt: skip
