"""How figures look: a rule has one colour, marker and hatch everywhere, a schedule one line.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; markers, hatches and
lines tell the same in black and white.
"""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from bioprop.rules import catalogue
from experiments.analysis.rows import Method

WIDTH, COLUMN = 6.75, 3.3  # inches, of a page's text


class Look(NamedTuple):
    """Of a rule."""

    colour: str
    marker: str
    hatch: str


LOOKS = (
    Look('#000000', 'o', ''), Look('#E69F00', 's', '///'), Look('#D55E00', 'D', '\\\\\\'),
    Look('#0072B2', '^', '...'), Look('#009E73', 'v', 'xxx'), Look('#CC79A7', '*', '+++'),
)  # fmt: skip  # in the order of rules
CONVNET = Look('#767676', 'P', '')
OTHERS = ('#56B4E9', '#7F3C8D', '#8C510A'), ('<', '>', 'h', 'p', 'd'), ('ooo',)  # of other rules
FAMILIES = dict(  # of rules: colour and marker
    zip(
        dict.fromkeys(entry.family for entry in catalogue.CATALOGUE.values()),
        [*((each.colour, each.marker) for each in LOOKS), *zip(*OTHERS[:2], strict=False)],
        strict=False,
    )
)
LINES = {'parallel': '-', 'alternating': (0, (4, 1.6)), 'alternating_step': (0, (1, 1.2))}

look = context(Path(__file__).with_name('bioprop.mplstyle'))  # decorates what draws


def look_of(method: Method) -> Look:
    """That of its rule; the convolutional net has its own."""
    if method.net == 'conv':
        return CONVNET
    place, number = catalogue.place(method.rule), zlib.crc32(method.rule.encode())
    others = Look(*(choice[number % len(choice)] for choice in OTHERS))
    return LOOKS[place] if place < len(LOOKS) else others


def line(method: Method) -> dict[str, Any]:
    """What `Axes.plot` takes. Markers are open where the schedule is not the parallel one."""
    colour, marker, _ = look_of(method)
    return {
        'color': colour,
        'linestyle': LINES.get(method.schedule, '-'),
        'marker': marker,
        'markersize': 7.0 if marker == '*' else 4.5,
        'markerfacecolor': colour if method.schedule == 'parallel' else 'white',
    }


def axes(
    rows: int, columns: int, height: float, legend: float = 0.0, **shared: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure and its axes by row; height is that of a row in inches, legend that of a legend.

    It is as wide as a page, or as a column of one if it has neither second axes nor a legend.
    """
    width = WIDTH if columns > 1 or legend else COLUMN
    figure = Figure((width, height * rows + legend), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).tolist()
