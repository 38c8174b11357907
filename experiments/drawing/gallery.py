"""Each kind of figure from the runs of a study, and their files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bioprop.errors import UserError
from bioprop.records.numbers import numbers
from experiments.analysis import measured, series
from experiments.analysis.reconstruct import one_of_each_class, reconstructions
from experiments.analysis.rows import load, panels, placed, read, winners
from experiments.drawing import digits, histograms, inverses, legends, panes, style
from experiments.drawing.panes import ERRORS, Pane, pane
from experiments.drawing.themes import LAYERS, METRICS, THEMES, View

Figures = dict[str, Figure]  # by the names of their files


def draw_curves(runs: pd.DataFrame) -> Figures:
    """Running training error and test error over epochs: a figure for each data set."""
    return _over_epochs(runs, 'error', ('train', 'test'), 'error (%)', 'curves')


def draw_reconstruction(runs: pd.DataFrame) -> Figures:
    """Reconstruction loss over epochs: a figure for each data set."""
    parts = ('validation', 'test')
    return _over_epochs(runs, 'loss', parts, 'loss per pixel', 'autoencoder_losses')


def _over_epochs(runs, measure, parts, score, name) -> Figures:
    rows = {}
    for panel, members in panels(runs, measure):
        lines = series.curves(winners(members), parts, measure)
        row = [pane(lines[part], 'epoch', f'{part} {score}', ERRORS) for part in parts]
        if any(each.traces for each in row):
            row[0] = row[0]._replace(title=panel.title)
            rows.setdefault(f'{name}_{panel.dataset}', []).append(row)
    return {name: _drawn(found) for name, found in rows.items()}


def _drawn(rows: list[list[Pane]], title: str = '') -> Figure:
    lines = pd.concat([trace.curve for row in rows for each in row for trace in each.traces])
    return panes.draw(rows, functools.partial(legends.methods, lines=lines), title)


def draw_histograms(runs: pd.DataFrame) -> Figures:
    """Test accuracies over the trials of each search: a figure for each data set and net."""
    return {
        f'histograms_{panel.dataset}_{panel.net}': histograms.draw(panel.title, trials)
        for panel, found in panels(runs, 'error')
        if len(trials := series.search_trials(found))
    }


def draw_auxiliary(runs: pd.DataFrame) -> Figures:
    """Test error by auxiliary units: axes for each data set and net."""
    words = 'auxiliary units (0: the rule without)', 'test error (%)', ERRORS
    found = [pane(series.by_units(m), *words, p.title) for p, m in panels(runs, 'error')]
    rows = panes.pairs(found)
    return {'auxiliary': _drawn(rows)} if rows else {}


def draw_digits(runs: pd.DataFrame) -> Figures:
    """A test digit of each class, and what each of the autoencoders makes of it."""
    if runs.empty:
        return {}
    if runs.dataset.nunique() > 1:
        raise UserError('the autoencoders of one figure must have one data set')
    places = one_of_each_class(runs.config.iloc[0])
    rows = {}
    for run in runs.itertuples():
        original, made = reconstructions(run.folder, places)
        rows |= {'original': original, run.method.label: made}
    return {'autoencoder_digits': digits.draw(rows)}


def draw_diagnostics(runs: pd.DataFrame) -> Figures:
    """What diagnostics found on validation images: a figure for each theme, data set and net."""
    figures = {}
    for panel, members in panels(runs):
        won = winners(members)
        found = numbers(series.records(won))
        found = measured.by_epoch(found[found.part == 'validation'])
        end = f'{panel.dataset}_{panel.net}{"_autoencoder" * (panel.measure == "loss")}'
        for name, theme in THEMES.items():
            rows = [[_pane(won, found, view) for view in row] for row in theme]
            rows = [[each for each in row if each.traces] for row in rows]
            if any(rows):
                figures[f'diagnostics_{name}_{end}'] = _drawn(list(filter(None, rows)), panel.title)
    return figures


def draw_inverses(runs: pd.DataFrame) -> Figures:
    """Angles over layers by inverse and start of targets: a figure for each data set and net."""
    figures = {}
    for panel, members in panels(runs):
        found = numbers(series.records(members))
        found = measured.by_epoch(found[found.part == 'validation'])
        if figure := inverses.draw(members, found, panel.title):
            figures[f'inverses_{panel.dataset}_{panel.net}'] = figure
    return figures


def _pane(won: pd.DataFrame, found: pd.DataFrame, view: View) -> Pane:
    metric, place = view
    if place == LAYERS:
        lines, x = measured.over_layers(found, won, metric), 'layer (in the last epoch)'
    else:
        lines = measured.over_epochs(found, won, metric, place)
        x = 'epoch (all layers together)' if place else 'epoch'
    return pane(lines, x, *METRICS[metric])


KINDS: dict[str, tuple[Callable[[pd.DataFrame], Figures], str]] = {
    'curves': (draw_curves, 'epoch of a winner has been evaluated'),
    'histograms': (draw_histograms, 'trial of a search has ended'),
    'auxiliary': (draw_auxiliary, 'seed of a winner with auxiliary units has ended'),
    'autoencoder': (draw_reconstruction, 'run of --config.loss=reconstruction has been evaluated'),
    'diagnostics': (draw_diagnostics, 'epoch of a run with --config.diagnostics was evaluated'),
    'inverses': (draw_inverses, 'epoch of a target rule with --config.diagnostics was evaluated'),
}


def draw(kind: str, study: Path | None, workdirs: Sequence[Path] = ()) -> Figures:
    """The figures of one kind; workdirs are of autoencoders that show digits.

    Raises UserError where there is nothing to draw.
    """
    if workdirs and kind != 'autoencoder':
        raise UserError('--runs are autoencoders: they belong to the figure autoencoder')
    named = pd.concat(map(read, workdirs), ignore_index=True) if workdirs else pd.DataFrame()
    runs = load(study) if study else placed(named)
    function, missing = KINDS[kind]
    found = (function(runs) if len(runs) else {}) | draw_digits(named)
    if not found:
        raise UserError(f'{study} has nothing to draw {kind} of: no {missing} yet')
    return found


@style.look
def save(figures: Figures, folder: Path) -> list[Path]:
    """Writes each as PNG and SVG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        for kind, metadata in (('png', {}), ('svg', {'Date': None})):
            paths.append(folder / f'{name}.{kind}')
            figure.savefig(paths[-1], metadata=metadata)
    return paths
