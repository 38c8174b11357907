"""Rules over the depth and the width of nets: errors above backpropagation's, first-layer angles.

A family has the colour that it has on the leaderboard; its rules differ in markers and lines.
"""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from experiments.analysis.scaling import FIXED, WORDS, Row, along, by_rule
from experiments.drawing import legends, style

MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')  # of the rules of a family, one by one
LINES = ('-', (0, (4, 1.6)), (0, (1, 1.2)))
SHOWN = {
    'above_bp': "test error above BP's (points)",
    'signal_angle': 'signal angle, layer 1 (°)',
    'update_angle': 'update angle, layer 1 (°)',
}
NEAR = 1.0  # point of error: the axis is linear up to it, and logarithmic from there


@style.look
def draw(rows: list[Row], title: str) -> Figure:
    """Axes for what is shown by depth, and by width."""
    looks = _looks(rows)
    figure, places = style.axes(len(SHOWN), len(FIXED), 2.3, legend=1.1, sharey='row')
    for name, axes in zip(SHOWN, places, strict=True):
        _scaled(axes[0], name)
        for by, axis in zip(FIXED, axes, strict=True):
            _plot(axis, along(rows, by), by, name, looks)
        axes[0].set_ylabel(SHOWN[name])
    places[0][0].set_title(title, loc='left')
    handles = [Line2D([], [], label=label, **look) for label, look in looks.values()]
    legends.draw(figure, handles, 'mean, and standard deviation over seeds', 5)
    return figure


def _looks(rows: Iterable[Row]) -> dict[str, tuple[str, dict[str, Any]]]:
    """By rule: its label, and what `Axes.plot` takes."""
    found, seen = {}, dict.fromkeys(style.FAMILIES, 0)
    for rule, (row, *_) in by_rule(rows):
        place, (colour, _) = seen[row['family']], style.FAMILIES[row['family']]
        seen[row['family']] += 1
        found[rule] = row['label'], {
            'color': colour, 'marker': MARKERS[place % len(MARKERS)], 'markersize': 4.5,
            'linestyle': LINES[place % len(LINES)],
            'markerfacecolor': 'white' if place % 2 else colour,
        }  # fmt: skip
    return found


def _plot(axis: Axes, rows: list[Row], by: str, name: str, looks: dict) -> None:
    for rule, members in by_rule(rows):
        told = [
            (row[by], row[name]['mean'], row[name]['deviation']) for row in members if row[name]
        ]
        if told:
            axis.errorbar(*zip(*told, strict=True), capsize=1.5, **looks[rule][1])
    if by == 'width':
        axis.set_xscale('log', base=2)
    axis.xaxis.set_major_locator(FixedLocator(sorted({row[by] for row in rows})))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter('{x:g}')
    axis.set_xlabel(WORDS[by])


def _scaled(axis: Axes, name: str) -> None:
    if name == 'above_bp':
        axis.set_yscale('symlog', linthresh=NEAR)
        axis.yaxis.set_major_formatter('{x:g}')
    else:
        axis.set_ylim(-5, 120)
        axis.yaxis.set_major_locator(FixedLocator(range(0, 121, 30)))
