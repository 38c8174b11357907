"""Accuracies over the trials of a search, a histogram for each method, all on the same axes."""

import math
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.analysis.series import Trials
from experiments.analysis.words import label
from experiments.drawing import style

BINS = 20  # at most
BIN_WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5)  # percent


@style.look
def draw(title: str, searches: list[Trials]) -> Figure:
    """Axes for each search."""
    columns = min(3 if len(searches) < 10 else 4, len(searches))
    figure, rows = style.axes(-(-len(searches) // columns), columns, 1.6, sharex=True, sharey=True)
    edges = bins([accuracy for search in searches for accuracy in search.accuracies])
    places = [axis for row in rows for axis in row]
    for axis, search in zip(places, searches, strict=False):
        _plot(axis, search, edges)
    for axis in places[len(searches) :]:
        axis.remove()
    for axis in places[max(0, len(searches) - columns) : len(searches)]:
        axis.tick_params(labelbottom=True)  # also where the row below is not full
    figure.suptitle(title, fontsize=9, x=0.01, ha='left')
    figure.supxlabel(
        'test accuracy (%); dashed: the median of those that did not diverge', fontsize=9
    )
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
    margin = (edges[-1] - edges[0]) / 50
    axis.set_xlim(edges[0] - margin, edges[-1] + margin)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if search.accuracies:
        median = statistics.median(search.accuracies)
        axis.axvline(median, color='black', linestyle=(0, (2, 1.5)), linewidth=1.0)
    axis.set_title(f'{label(search.method)}\n{counts(search)}', loc='left', fontsize=8)


def counts(search: Trials) -> str:
    """How many trials there were, and how many of them diverged."""
    count = len(search.accuracies) + search.diverged
    return f'{count} trial{"s" * (count != 1)}, {search.diverged} diverged'
