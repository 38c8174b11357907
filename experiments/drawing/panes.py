"""Axes in rows, with lines over epochs in bands, or over layers or units with bars."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullLocator

from experiments.analysis.series import by_method
from experiments.drawing import style

APART = 0.045  # of a layer, between the bars of two lines
MARKS = 8  # markers on a line, at most
# Ticks of a logarithmic axis, by the ratio of its ends that they serve.
TICKS = {8: (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), 100: (1, 2, 5), math.inf: (1,)}


class Scale(NamedTuple):
    """Of an axis."""

    logarithmic: bool = False
    reference: float | None = None  # where a line tells one side from the other
    every: float | None = None  # between ticks
    shared: bool = True  # with the axes beside it that show the like
    decades: float = math.inf  # of a logarithmic one, at most: what is lower, or 0, leaves it


# The first epochs of slow methods and the differences at the end show alike.
ERRORS = Scale(logarithmic=True, shared=False, decades=3)


class Trace(NamedTuple):
    """A line: points with `x`, `mean` and `deviation`, and what `Axes.plot` takes for its look."""

    curve: pd.DataFrame
    look: dict[str, Any]


class Pane(NamedTuple):
    """What one pair of axes shows."""

    traces: list[Trace]
    x: str
    y: str
    scale: Scale
    title: str = ''

    @property
    def barred(self) -> bool:
        """Whether it is over layers or units, and not over time."""
        return not self.x.startswith(('epoch', 'step'))

    def like(self, other: 'Pane') -> bool:
        """Whether it is to be held against the other: they are then on one scale."""
        return self is other or (
            self.scale.shared and (self.x, self.scale) == (other.x, other.scale)
        )


def pane(lines: pd.DataFrame, x: str, y: str, scale: Scale, title: str = '') -> Pane:
    """The lines of methods, each with the look of its own."""
    traces = [Trace(line, style.line(method)) for method, line in by_method(lines)]
    return Pane(traces, x, y, scale, title)


def pairs(found: Sequence[Pane]) -> list[list[Pane]]:
    """In rows of two, those that show something."""
    found = [each for each in found if each.traces]
    return [found[place : place + 2] for place in range(0, len(found), 2)]


@style.look
def draw(rows: list[list[Pane]], legend: Callable[[Figure], None], title: str = '') -> Figure:
    """A row of axes for each row of panes; legend draws what stands under them."""
    columns = max(map(len, rows))
    figure, places = style.axes(len(rows), columns, 2.1, legend=0.6)
    places[0][0].set_title(title, loc='left')
    for axes, panes in zip(places, rows, strict=True):
        for axis, pane in zip(axes, panes, strict=False):
            _plot(axis, pane)
            _scaled(axis, pane.scale, limits([other for other in panes if other.like(pane)]))
        for axis in axes[len(panes) :]:
            axis.remove()
    legend(figure)
    return figure


def _plot(axis: Axes, pane: Pane) -> None:
    for place, trace in enumerate(pane.traces):
        if pane.barred:
            _bars(axis, trace, (place - (len(pane.traces) - 1) / 2) * APART)
        else:
            _band(axis, trace, place)
    axis.set(xlabel=pane.x, ylabel=pane.y)
    if pane.title:
        axis.set_title(pane.title, loc='left')
    if not pane.barred:
        axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _band(axis: Axes, trace: Trace, place: int) -> None:
    """The mean in a band of one deviation; place sets its markers apart from those of others."""
    curve, look = trace
    every, colour = max(1, -(-len(curve) // MARKS)), look['color']
    axis.plot(curve.x, curve['mean'], markevery=(place % every, every), gid='mean', **look)
    low, high = curve['mean'] - curve.deviation, curve['mean'] + curve.deviation
    axis.fill_between(curve.x, low, high, color=colour, alpha=0.18, linewidth=0)


def _bars(axis: Axes, trace: Trace, shift: float) -> None:
    curve, look = trace
    x, mean = curve.x + shift, curve['mean']
    line, _, (bars,) = axis.errorbar(x, mean, curve.deviation, capsize=1.5, **look)
    line.set_gid('mean')
    bars.set_linestyle('-')


def limits(panes: list[Pane]) -> tuple[float, float]:
    """Of the axes of panes on one scale: all bars and bands are within, but those around 0."""
    scale = panes[0].scale
    curves = [trace.curve for pane in panes for trace in pane.traces]
    if scale.reference is not None:
        curves.append(pd.DataFrame({'mean': [scale.reference], 'deviation': [0.0]}))
    mean = pd.concat([curve['mean'] for curve in curves])
    deviation = pd.concat([curve.deviation for curve in curves])
    low, high = mean - deviation, (mean + deviation).max()
    if scale.logarithmic:
        high = high if high > 0 else 1.0
        low = low.clip(lower=mean / 3)[mean > 0].min() if (mean > 0).any() else high / 10
        margin = max(1.05, (high / low) ** 0.05)
        return max(low / margin, high / 10**scale.decades), high * margin
    low, high = min(low.min(), 0), max(high, 0) or 1.0
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _scaled(axis: Axes, scale: Scale, ends: tuple[float, float]) -> None:
    low, high = ends
    if scale.reference is not None:
        axis.axhline(scale.reference, color='#555555', linestyle=(0, (1, 2)), linewidth=0.9)
    if scale.every:
        axis.yaxis.set_major_locator(MultipleLocator(scale.every))
    if scale.logarithmic:
        axis.set_yscale('log', nonpositive='clip')
        digits = next(digits for ratio, digits in TICKS.items() if high <= ratio * low)
        axis.yaxis.set_major_locator(LogLocator(subs=digits))
        axis.yaxis.set_major_formatter('{x:g}')
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(low, high)
