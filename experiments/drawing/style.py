"""How figures look: a rule has one colour, marker and hatch everywhere, a schedule one line.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; markers, hatches and
lines tell the same in black and white.
"""

import zlib
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.rows import Method

WIDTH, COLUMN = 6.75, 3.3  # inches, of a page's text

LOOK = {
    'font.size': 9,
    'axes.titlesize': 9,
    'axes.labelsize': 9,
    'xtick.labelsize': 8,
    'ytick.labelsize': 8,
    'legend.fontsize': 8,
    'legend.frameon': False,
    'legend.handlelength': 3.2,  # long enough to show a dashed line with its marker
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.linewidth': 0.8,
    'axes.axisbelow': True,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'grid.color': '#dddddd',
    'grid.linewidth': 0.6,
    'lines.linewidth': 1.4,
    'hatch.linewidth': 0.7,
    'figure.dpi': 200,
    'savefig.dpi': 200,
    'svg.hashsalt': 'bioprop',  # the same figure is the same file
}

COLOURS = {
    'bp': '#000000', 'fa': '#E69F00', 'dfa': '#D55E00', 'dtp': '#0072B2', 'sdtp': '#009E73',
    'ao_sdtp': '#CC79A7',
}  # fmt: skip
MARKERS = {'bp': 'o', 'fa': 's', 'dfa': 'D', 'dtp': '^', 'sdtp': 'v', 'ao_sdtp': '*'}
HATCHES = {'bp': '', 'fa': '///', 'dfa': '\\\\\\', 'dtp': '...', 'sdtp': 'xxx', 'ao_sdtp': '+++'}
LINES = {'parallel': '-', 'alternating': (0, (4, 1.6)), 'alternating_step': (0, (1, 1.2))}
CONVNET = {'color': '#767676', 'marker': 'P'}
OTHERS = ('#56B4E9', '#7F3C8D', '#8C510A')  # of rules that are not the paper's
OTHER_MARKERS = ('<', '>', 'h', 'p', 'd')

look = matplotlib.rc_context(LOOK)  # decorates the functions that draw


def colour(method: Method) -> str:
    """Of its rule; the convolutional net has its own."""
    if method.net == 'conv':
        return CONVNET['color']
    return COLOURS.get(method.rule) or OTHERS[_number(method.rule) % len(OTHERS)]


def marker(method: Method) -> str:
    """Of its rule; the convolutional net has its own."""
    if method.net == 'conv':
        return CONVNET['marker']
    return MARKERS.get(method.rule) or OTHER_MARKERS[_number(method.rule) % len(OTHER_MARKERS)]


def hatch(method: Method) -> str:
    """Of its rule."""
    return HATCHES.get(method.rule, 'ooo')


def line(method: Method) -> dict[str, Any]:
    """What `Axes.plot` takes. Markers are open where the schedule is not the parallel one."""
    fill = colour(method) if method.schedule == 'parallel' else 'white'
    return {
        'color': colour(method),
        'linestyle': LINES.get(method.schedule, '-'),
        'marker': marker(method),
        'markersize': 7.0 if marker(method) == '*' else 4.5,
        'markerfacecolor': fill,
    }


def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def axes(
    rows: int, columns: int, height: float, legend: float = 0.0, **shared: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure and its axes by row; height is that of a row in inches, legend that of a legend.

    It is as wide as a page, or as a column of one if it has no second axes.
    """
    width = WIDTH if columns > 1 else COLUMN
    figure = Figure((width, height * rows + legend), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).tolist()
