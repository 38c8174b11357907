"""Scores over epochs: the mean over seeds, in a band of one standard deviation."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.drawing import style
from experiments.series import Line
from experiments.words import label

MARKS = 8  # markers on a line, at most


@style.look
def draw(panels: dict[str, dict[str, list[Line]]], score: str) -> Figure:
    """A row of axes for each panel, one for each part of the data; score is what they show."""
    parts = list(next(iter(panels.values())))
    figure, rows = style.axes(len(panels), len(parts), 2.3, sharey='row')
    for row, (title, by_part) in zip(rows, panels.items(), strict=True):
        for axis, (part, lines) in zip(row, by_part.items(), strict=True):
            for place, line in enumerate(lines):
                _plot(axis, line, place)
            axis.set_title(f'{title}: {part}', loc='left')
            axis.set_xlabel('epoch')
            axis.set_xlim(left=0)
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        row[0].set_ylabel(score)
        row[0].set_ylim(0, ceiling([line for lines in by_part.values() for line in lines]))
    legend(
        figure, [line for by_part in panels.values() for each in by_part.values() for line in each]
    )
    return figure


def _plot(axis: Axes, line: Line, place: int) -> None:
    x, mean, deviation = line.curve
    every = max(1, -(-len(x) // MARKS))
    axis.plot(x, mean, markevery=(place % every, every), gid='mean', **style.line(line.method))
    low = [m - d for m, d in zip(mean, deviation, strict=True)]
    high = [m + d for m, d in zip(mean, deviation, strict=True)]
    axis.fill_between(x, low, high, color=style.colour(line.method), alpha=0.18, linewidth=0)


def ceiling(lines: list[Line]) -> float:
    """The top of the axis: what comes later than a quarter of the epochs is shown whole.

    The first epochs of the slowest method would leave no room for the differences at the end.
    """
    tops = []
    for line in lines:
        x, mean, deviation = line.curve
        start = x[0] + (x[-1] - x[0]) / 4
        tops += [m + d for e, m, d in zip(x, mean, deviation, strict=True) if e >= start]
    return 1.05 * max(tops, default=1.0) or 1.0


def legend(figure: Figure, lines: list[Line]) -> None:
    """Each method once, under the axes, and what the lines and bands are."""
    methods = {line.method: line for line in lines}
    handles = [
        Line2D([], [], label=_label(line), **style.line(method)) for method, line in methods.items()
    ]
    counts = sorted({line.seeds for line in lines})
    seeds = '-'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=min(4, len(handles)),
        title=f'mean \N{PLUS-MINUS SIGN} standard deviation, seeds: {seeds}',
        title_fontsize=8,
    )


def _label(line: Line) -> str:
    diverged = f' ({line.diverged} of {line.seeds} diverged)' if line.diverged else ''
    return label(line.method) + diverged
