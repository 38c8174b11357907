"""Accuracies over the trials of a search, a histogram for each method, all on the same axes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.analysis.series import by_method
from experiments.drawing import style

BINS = 20  # at most


@style.look
def draw(title: str, trials: pd.DataFrame) -> Figure:
    """Axes for each search."""
    searches, edges = list(by_method(trials)), bins(trials.accuracy.dropna())
    count = len(searches)
    columns = min(3 if count < 10 else 4, count)
    figure, rows = style.axes(-(-count // columns), columns, 1.6, sharex=True, sharey=True)
    places = [axis for row in rows for axis in row]
    for axis, (method, search) in zip(places, searches, strict=False):
        _plot(axis, search, edges, style.look_of(method))
        counts = f'{len(search)} trial{"s" * (len(search) > 1)}, {search.diverged.sum()} diverged'
        axis.set_title(f'{method.label}\n{counts}', loc='left', fontsize=8)
    for axis in places[count:]:
        axis.remove()
    for axis in places[max(0, count - columns) : count]:
        axis.tick_params(labelbottom=True)  # also where the row below is not full
    figure.suptitle(title, fontsize=9, x=0.01, ha='left')
    figure.supxlabel(
        'test accuracy (%); dashed: the median of those that did not diverge', fontsize=9
    )
    figure.supylabel('trials', fontsize=9)
    return figure


def bins(accuracies: pd.Series) -> np.ndarray:
    """Edges that hold all accuracies, at multiples of a round width."""
    low, high = (accuracies.min(), accuracies.max()) if len(accuracies) else (0, 100)
    return MaxNLocator(BINS, steps=[1, 2, 5, 10]).tick_values(low, max(high + 0.01, low + 1))


def _plot(axis: Axes, search: pd.DataFrame, edges: np.ndarray, look: style.Look) -> None:
    accuracies = search.accuracy.dropna()
    axis.hist(
        accuracies, edges, facecolor='white', edgecolor=look.colour, hatch=look.hatch * 2,
        linewidth=1.0,
    )  # fmt: skip
    margin = (edges[-1] - edges[0]) / 50
    axis.set_xlim(edges[0] - margin, edges[-1] + margin)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(accuracies):
        axis.axvline(accuracies.median(), color='black', linestyle=(0, (2, 1.5)), linewidth=1.0)
