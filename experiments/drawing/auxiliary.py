"""Test error against the number of auxiliary units, a line for each schedule."""

from matplotlib.figure import Figure

from experiments.analysis.series import Line
from experiments.drawing import style
from experiments.drawing.curves import legend


@style.look
def draw(panels: dict[str, list[Line]]) -> Figure:
    """Axes for each panel, side by side in pairs."""
    columns = min(2, len(panels))
    figure, rows = style.axes(-(-len(panels) // columns), columns, 2.1, legend=0.5)
    places = [axis for row in rows for axis in row]
    for axis, (title, lines) in zip(places, panels.items(), strict=False):
        for place, line in enumerate(lines):
            x, mean, deviation = line.curve
            look = style.line(line.method)
            _, _, (bars,) = axis.errorbar(x, mean, deviation, capsize=3 + 2 * place, **look)
            bars.set_linestyle(look['linestyle'])
        axis.set_title(title, loc='left')
        axis.set_xlabel('auxiliary units (0: SDTP)')
        axis.set_ylabel('test error (%)')
        axis.set_xticks(apart(sorted({units for line in lines for units in line.curve.x})))
    for axis in places[len(panels) :]:
        axis.remove()
    legend(figure, [line for lines in panels.values() for line in lines])
    return figure


def apart(places: list[int]) -> list[int]:
    """Those whose labels do not run into the one before."""
    kept = places[:1]
    for place in places[1:]:
        if place - kept[-1] >= (places[-1] - places[0]) / 12:
            kept.append(place)
    return kept
