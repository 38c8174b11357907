"""Test error against the number of auxiliary units, a line for each schedule."""

from matplotlib.figure import Figure

from experiments.drawing import style
from experiments.drawing.curves import legend
from experiments.series import Line


@style.look
def draw(panels: dict[str, list[Line]]) -> Figure:
    """Axes for each panel, side by side in pairs."""
    columns = min(2, len(panels))
    figure, rows = style.axes(-(-len(panels) // columns), columns, 2.1, legend=0.5)
    places = [axis for row in rows for axis in row]
    for axis, (title, lines) in zip(places, panels.items(), strict=False):
        for line in lines:
            x, mean, deviation = line.curve
            axis.errorbar(x, mean, deviation, capsize=3, gid='mean', **style.line(line.method))
        axis.set_title(title, loc='left')
        axis.set_xlabel('auxiliary units (0: SDTP)')
        axis.set_ylabel('test error (%)')
        axis.set_xticks(sorted({units for line in lines for units in line.curve.x}))
    for axis in places[len(panels) :]:
        axis.remove()
    legend(figure, [line for lines in panels.values() for line in lines])
    return figure
