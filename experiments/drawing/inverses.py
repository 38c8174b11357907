"""Targets by their inverse and start: the angles of signals and of Jacobians over the layers."""

import functools
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bioprop.rules import catalogue
from experiments.analysis import measured
from experiments.drawing import legends, panes
from experiments.drawing.panes import Pane, Trace
from experiments.drawing.themes import METRICS

COLOURS = {'after': '#D55E00', 'before': '#0072B2', 'matched': '#009E73'}  # of inverses
LINES = {'logits': '-', 'penultimate': (0, (4, 1.6))}  # of starts
MARKERS = ('o', 's', '^', 'D')  # of rules
SHOWN = ('signal_angle', 'jacobian_angle')


def draw(runs: pd.DataFrame, found: pd.DataFrame, title: str) -> Figure | None:
    """Of runs with an `inverse` and a `start`, from their means by epoch; None without any."""
    runs = runs[[bool({'inverse', 'start'} <= config.keys()) for config in runs.config]]
    keys = [tuple(config[key] for key in ('rule', 'start', 'inverse')) for config in runs.config]
    kinds = list(dict.fromkeys(keys))
    runs = runs.assign(row=[kinds.index(key) for key in keys])
    row = []
    for metric in SHOWN:
        lines = measured.over_layers(found, runs, metric)
        traces = [Trace(line, _look(*kinds[place])) for place, line in lines.groupby('row')]
        row.append(Pane(traces, 'layer (in the last epoch)', *METRICS[metric]))
    row = [each for each in row if each.traces]
    return panes.draw([row], functools.partial(_legend, kinds=kinds), title) if row else None


def _look(rule: str, start: str, inverse: str) -> dict[str, Any]:
    marker = MARKERS[catalogue.place(rule) % len(MARKERS)]
    return {
        'color': COLOURS[inverse], 'linestyle': LINES[start], 'marker': marker, 'markersize': 4.5,
        'markerfacecolor': COLOURS[inverse] if start == 'logits' else 'white',
    }  # fmt: skip


def _legend(figure: Figure, kinds: list[tuple[str, str, str]]) -> None:
    handles = [
        Line2D([], [], label=f'{catalogue.label(rule)}, {inverse}, {start}', **_look(*kind))
        for kind in kinds
        for rule, start, inverse in [kind]
    ]
    legends.draw(figure, handles, 'rule, inverse, start of targets', 3)
