"""The leaderboard drawn: error against the cost of a step, and a small figure of each curve."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from experiments.drawing import legends, style

Row = dict[str, Any]  # of experiments.analysis.leaders, as JSON holds it

PLACE = {'textcoords': 'offset points', 'xytext': (4, -8)}  # of a name, from its point


def unbeaten(rows: list[Row]) -> list[Row]:
    """Those that no other beats in error without more work, the cheapest first."""
    found, least = [], math.inf
    for row in sorted(rows, key=lambda row: (row['work'], row['test']['mean'])):
        if row['test']['mean'] < least:
            found, least = [*found, row], row['test']['mean']
    return found


@style.look
def scatter(rows: list[Row]) -> Figure:
    """Test error by the work of a step; a family has a colour and a marker, the best have names."""
    rows = [row for row in rows if row['test']]
    figure = Figure((4.5, 3.8), layout='constrained')
    axes = figure.subplots()
    for row in rows:
        axes.plot(row['work'], row['test']['mean'], gid=row['rule'], **_mark(row['family']))
    best = unbeaten(rows)
    axes.step(*_places(best), where='post', color='#767676', linewidth=0.8, zorder=1)
    for row in best:
        axes.annotate(row['label'], (row['work'], row['test']['mean']), fontsize=8, **PLACE)
    axes.set(xscale='log', yscale='log', xlabel="work of a step, in BP's", ylabel='test error (%)')
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    axes.margins(x=0.12, y=0.12)
    families = [family for family in style.FAMILIES if any(row['family'] == family for row in rows)]
    marks = [Line2D([], [], label=family, **_mark(family)) for family in families]
    legends.draw(figure, marks, 'named: nothing beats it in both', 4)
    return figure


def _places(rows: list[Row]) -> tuple[list[float], list[float]]:
    return [row['work'] for row in rows], [row['test']['mean'] for row in rows]


def _mark(family: str) -> dict[str, Any]:
    colour, marker = style.FAMILIES[family]
    return {'color': colour, 'marker': marker, 'markersize': 5.5, 'linestyle': ''}


@style.look
def curve(row: Row, best: Row, ends: tuple[float, float]) -> Figure:
    """Validation error over epochs in a band of one deviation, before that of the best row."""
    figure = Figure((1.9, 1.4), layout='constrained')
    axes = figure.subplots()
    axes.plot(best['curve']['epoch'], best['curve']['mean'], color='#a0a0a0', linewidth=0.9)
    _band(axes, row)
    axes.set(yscale='log', ylim=ends)
    axes.set_xlim(left=0)
    axes.xaxis.get_major_locator().set_params(nbins=3, integer=True)
    _plain(axes.yaxis)
    return figure


def _band(axes: Axes, row: Row) -> None:
    epoch, mean, deviation = (row['curve'][name] for name in ('epoch', 'mean', 'deviation'))
    colour, _ = style.FAMILIES[row['family']]
    axes.plot(epoch, mean, color=colour, gid='mean')
    sides = ([m + sign * d for m, d in zip(mean, deviation, strict=True)] for sign in (-1, 1))
    axes.fill_between(epoch, *sides, color=colour, alpha=0.2, linewidth=0)


def ends(rows: list[Row]) -> tuple[float, float]:
    """Of the errors of all curves: one scale for a panel."""
    found = [error for row in rows for error in row['curve']['mean'] if error > 0]
    return 0.9 * min(found), 1.1 * max(found)


def _plain(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, in plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_locator(NullLocator())
