"""One run looked into: lines over training by layer, or over layers by checkpoint."""

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analysis.measured import LAYER, SPREAD, Numbers, layers_of, name_of, place_of
from experiments.analysis.series import Curve
from experiments.drawing import panes
from experiments.drawing.panes import Pane, Trace
from experiments.drawing.themes import METRICS

# How the parts of the data look, over epochs and over layers.
OVER_EPOCHS = {
    'train': {'linewidth': 0.8, 'alpha': 0.5},
    'validation': {'marker': 'o', 'markersize': 3.5},
}
OVER_LAYERS = {
    'train': {'linestyle': '-', 'marker': 's', 'markersize': 4},
    'validation': {
        'linestyle': (0, (4, 1.6)), 'marker': 'o', 'markersize': 5, 'markerfacecolor': 'white',
    },
}  # fmt: skip
CHECKPOINTS = ('#000000', '#0072B2', '#D55E00', '#009E73')  # their colours
PALEST = 0.85  # of the colours of layers: pale ones do not show on paper


def recorded(
    title: str, metrics: list[str], curves: dict[str, dict[str, Curve]], x: str
) -> Figure | None:
    """Axes for each metric, from curves by part and name; None if there are none of them."""
    names = dict.fromkeys(name for found in curves.values() for name in found)
    depth = max((l for name in names for l in layers_of([name], place_of(name)[0])), default=0)
    found, looks = [], {}
    for metric in metrics:
        layers = {f'{LAYER}{l}': _layer(l, depth) for l in layers_of(names, metric)}
        whole = {'total': {'color': 'black', 'linestyle': (0, (4, 1.6))}, '': {'color': 'black'}}
        places = {
            place: look
            for place, look in (layers | whole).items()
            if name_of(metric, place) in names
        }
        looks |= places
        traces = [
            Trace(curves[part][name_of(metric, place)], look | OVER_EPOCHS[part])
            for part in curves
            for place, look in places.items()
            if name_of(metric, place) in curves[part]
        ]
        found.append(Pane(traces, x, *METRICS[metric]))
    handles = [
        Line2D([], [], label=place.replace('_', ' '), **look)
        for place, look in looks.items()
        if place
    ]
    words = 'thin: batches as they are trained on; with markers: validation images'
    return _drawn(title, found, _legend(handles, words, 8))


def over_layers(
    title: str, metrics: list[str], looks: dict[str, dict[str, Numbers]]
) -> Figure | None:
    """Axes for each metric that has layers, from numbers by checkpoint and part."""
    styles = {
        (name, part): {'color': colour} | OVER_LAYERS[part]
        for (name, parts), colour in zip(looks.items(), itertools.cycle(CHECKPOINTS), strict=False)
        for part in parts
    }
    found = []
    for metric in metrics:
        traces = []
        for (name, part), look in styles.items():
            numbers = looks[name][part]
            layers = layers_of(numbers, metric)
            values = [numbers[f'{metric}/{LAYER}{l}'] for l in layers]
            spreads = [numbers.get(f'{metric}/{LAYER}{l}{SPREAD}', 0.0) for l in layers]
            if layers:
                traces.append(Trace(Curve(layers, values, spreads), look))
        found.append(Pane(traces, 'layer', *METRICS[metric]))
    handles = [
        Line2D([], [], label=f'{name}, {part}', **look) for (name, part), look in styles.items()
    ]
    words = 'bars: standard deviation over images, where a number has one'
    return _drawn(title, found, _legend(handles, words, len(looks)))


def _layer(l: int, depth: int) -> dict[str, Any]:
    return {'color': matplotlib.colormaps['viridis'](PALEST * (l - 1) / max(1, depth - 1))}


def _drawn(title: str, found: list[Pane], legend: Callable[[Figure], None]) -> Figure | None:
    found = [pane for pane in found if pane.traces]
    rows = [found[place : place + 2] for place in range(0, len(found), 2)]
    return panes.draw(title, rows, legend) if rows else None


def _legend(handles: list[Line2D], words: str, columns: int) -> Callable[[Figure], None]:
    """Draws it under the axes."""
    return lambda figure: figure.legend(
        handles=handles, loc='outside lower center', ncols=columns, columnspacing=1.2,
        handlelength=2.4, title=words, title_fontsize=8,
    )  # fmt: skip
