"""Axes in rows, with lines over epochs in bands, or over layers with bars."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from experiments.analysis.series import Curve
from experiments.drawing import style
from experiments.drawing.curves import band
from experiments.drawing.themes import Scale

APART = 0.045  # of a layer, between the bars of two lines
# Ticks of a logarithmic axis, by the ratio of its ends that they serve.
TICKS = {8: (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), 30: (1, 2, 5), math.inf: (1,)}


class Trace(NamedTuple):
    """A line, and what `Axes.plot` takes for its look."""

    curve: Curve
    look: dict[str, Any]


class Pane(NamedTuple):
    """What one pair of axes shows."""

    traces: list[Trace]
    x: str
    y: str
    scale: Scale

    @property
    def layered(self) -> bool:
        """Whether it is over layers."""
        return self.x.startswith('layer')

    def like(self, other: 'Pane') -> bool:
        """Whether it is to be held against the other: they are then on one scale."""
        return self is other or (
            self.scale.shared and (self.x, self.scale) == (other.x, other.scale)
        )


@style.look
def draw(title: str, rows: list[list[Pane]], legend: Callable[[Figure], None]) -> Figure:
    """A row of axes for each row of panes; legend draws what stands under them."""
    columns = max(map(len, rows))
    figure, places = style.axes(len(rows), columns, 2.0, legend=0.6)
    figure.set_figwidth(style.WIDTH)  # that of a legend, where there is one column
    for axes, panes in zip(places, rows, strict=True):
        for axis, pane in zip(axes, panes, strict=False):
            _plot(axis, pane)
            _scaled(axis, pane.scale, limits([other for other in panes if other.like(pane)]))
        for axis in axes[len(panes) :]:
            axis.remove()
    places[0][0].set_title(title, loc='left')
    legend(figure)
    return figure


def _plot(axis: Axes, pane: Pane) -> None:
    for place, trace in enumerate(pane.traces):
        if pane.layered:
            _bars(axis, trace, (place - (len(pane.traces) - 1) / 2) * APART)
        else:
            band(axis, trace.curve, trace.look, place)
    axis.set_xlabel(pane.x)
    axis.set_ylabel(pane.y)
    if pane.layered:
        axis.xaxis.set_major_locator(MultipleLocator(1))
    else:
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _bars(axis: Axes, trace: Trace, shift: float) -> None:
    x, mean, deviation = trace.curve
    places = [l + shift for l in x]
    line, _, (bars,) = axis.errorbar(places, mean, deviation, capsize=1.5, **trace.look)
    line.set_gid('mean')
    bars.set_linestyle('-')


def limits(panes: list[Pane]) -> tuple[float, float]:
    """Of the axes of panes on one scale: all bars and bands are within, but those around 0."""
    scale = panes[0].scale
    ends = [] if scale.reference is None else [(scale.reference, scale.reference)]
    for x, mean, deviation in (trace.curve for pane in panes for trace in pane.traces):
        ends += [(m - d, m + d) for _, m, d in zip(x, mean, deviation, strict=True)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if scale.logarithmic:
        high = high if high > 0 else 1.0
        positive = [max(low, (low + high) / 6) for low, high in ends if low + high > 0]
        low = min(positive, default=high / 10)
        margin = max(1.05, (high / low) ** 0.05)
        return low / margin, high * margin
    low, high = min(low, 0), max(high, 0) or 1.0
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
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(low, high)
