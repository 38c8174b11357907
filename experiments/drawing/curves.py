"""Scores over epochs: the mean over seeds, in a band of one standard deviation."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from experiments.analysis.rows import grouped
from experiments.analysis.series import Curve, Line
from experiments.analysis.words import label
from experiments.drawing import style

MARKS = 8  # markers on a line, at most
DECADES = 3


@style.look
def draw(panels: dict[str, dict[str, list[Line]]], score: str) -> Figure:
    """A row of axes for each panel, one for each part of the data; score is what they show."""
    parts = list(next(iter(panels.values())))
    figure, rows = style.axes(len(panels), len(parts), 2.1, legend=0.6)
    for row, (title, by_part) in zip(rows, panels.items(), strict=True):
        row[0].set_title(title, loc='left')
        for axis, (part, lines) in zip(row, by_part.items(), strict=True):
            for place, line in enumerate(lines):
                band(axis, line.curve, style.line(line.method), place)
            axis.set_xlabel('epoch')
            axis.set_ylabel(f'{part} {score}')
            axis.set_xlim(left=0)
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            _logarithmic(axis, lines)
    legend(
        figure, [line for by_part in panels.values() for each in by_part.values() for line in each]
    )
    return figure


def band(axis: Axes, curve: Curve, look: dict[str, Any], place: int) -> None:
    """The mean in a band of one deviation; place sets its markers apart from those of others."""
    x, mean, deviation = curve
    every = max(1, -(-len(x) // MARKS))
    axis.plot(x, mean, markevery=(place % every, every), gid='mean', **look)
    low = [m - d for m, d in zip(mean, deviation, strict=True)]
    high = [m + d for m, d in zip(mean, deviation, strict=True)]
    axis.fill_between(x, low, high, color=look['color'], alpha=0.18, linewidth=0)


def _logarithmic(axis: Axes, lines: list[Line]) -> None:
    """Shows the first epochs of slow methods and the differences at the end alike."""
    low, high = limits([value for line in lines for value in line.curve.mean])
    axis.set_yscale('log', nonpositive='clip')
    axis.set_ylim(low, high)
    digits = (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    axis.yaxis.set_major_locator(LogLocator(subs=digits))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.yaxis.set_minor_locator(NullLocator())


def limits(values: list[float]) -> tuple[float, float]:
    """Of a logarithmic axis, at most DECADES long: what is lower, or 0, leaves it at the bottom."""
    high = max(values, default=0) or 1.0
    low = min((value for value in values if value > 0), default=high)
    return max(low / 1.15, high / 10**DECADES), high * 1.15


def legend(figure: Figure, lines: list[Line]) -> None:
    """Each method once, under the axes, and what the lines and bands are."""
    methods = {line.method: line for line in lines}.values()
    alike = grouped(methods, lambda line: label(line.method))  # in several panels
    handles = [
        Line2D([], [], label=_label(name, each), **style.line(each[0].method))
        for name, each in alike.items()
    ]
    counts = sorted({line.seeds for line in lines})
    seeds = ' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    spread = f'mean \N{PLUS-MINUS SIGN} standard deviation over {seeds} seeds'
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=min(4 if figure.get_figwidth() == style.WIDTH else 2, len(handles)),
        title='one seed' if counts == [1] else spread,
        title_fontsize=8,
    )


def _label(name: str, lines: list[Line]) -> str:
    seeds, diverged = sum(line.seeds for line in lines), sum(line.diverged for line in lines)
    return f'{name} ({diverged} of {seeds} diverged)' if diverged else name
