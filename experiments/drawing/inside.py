"""One run looked into: lines over training by layer, or over layers by checkpoint.

What was found are frames as of `bioprop.records.numbers`.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.drawing import legends, panes
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


def recorded(title: str, metrics: Sequence[str], found: pd.DataFrame, x: str) -> Figure | None:
    """Axes for each metric over the `x` of what was found; None if there are none."""
    ours = found[found.metric.isin(metrics)].sort_values('layer', kind='stable')  # no layer: last
    looks = {
        each.place: _look(each.place, each.layer, found.layer.max())
        for each in ours.drop_duplicates('place').itertuples()
    }
    lines = ours.rename(columns={'value': 'mean'}).assign(deviation=0.0)
    traces = {
        (metric, part, place): Trace(line, looks[place] | OVER_EPOCHS[part])
        for (metric, part, place), line in lines.groupby(['metric', 'part', 'place'], sort=False)
    }
    order = [(part, place) for part in OVER_EPOCHS for place in looks]
    words = 'thin: batches as they are trained on; with markers: validation images'
    shown = {place.replace('_', ' '): look for place, look in looks.items() if place}
    return _drawn(title, metrics, x, traces, order, shown, words, 8)


def over_layers(title: str, metrics: Sequence[str], found: pd.DataFrame) -> Figure | None:
    """Axes for each metric that has layers, from what was found at each `checkpoint`; or None."""
    ours = found[found.metric.isin(metrics) & found.layer.notna()].sort_values('layer')
    checkpoints = dict(zip(found.checkpoint.unique(), itertools.cycle(CHECKPOINTS), strict=False))
    looks = {
        (name, part): {'color': colour} | OVER_LAYERS[part]
        for name, colour in checkpoints.items()
        for part in OVER_LAYERS
    }
    lines = ours.rename(columns={'layer': 'x', 'value': 'mean'})
    lines = lines.assign(deviation=lines.over_images.fillna(0.0))
    traces = {
        (metric, name, part): Trace(line, looks[name, part])
        for (metric, name, part), line in lines.groupby(['metric', 'checkpoint', 'part'])
    }
    words = 'bars: standard deviation over images, where a number has one'
    shown = {', '.join(key): look for key, look in looks.items()}
    return _drawn(title, metrics, 'layer', traces, looks, shown, words, len(checkpoints))


def _look(place: str, layer: float, depth: float) -> dict[str, Any]:
    if place.startswith('layer'):
        return {'color': matplotlib.colormaps['viridis'](PALEST * (layer - 1) / max(1, depth - 1))}
    return {'color': 'black'} | ({'linestyle': (0, (4, 1.6))} if place else {})


def _drawn(title, metrics, x, traces, order, shown, words, columns) -> Figure | None:
    rows = panes.pairs([
        Pane([traces[metric, *key] for key in order if (metric, *key) in traces], x,
             *METRICS[metric])
        for metric in metrics
    ])  # fmt: skip
    handles = [Line2D([], [], label=label, **look) for label, look in shown.items()]
    legend = functools.partial(legends.draw, handles=handles, title=words, columns=columns)
    return panes.draw(rows, legend, title) if rows else None
