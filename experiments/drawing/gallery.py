"""Each kind of figure from the runs of a study, and their files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bioprop.errors import UserError
from experiments.analysis import measured, series
from experiments.analysis.measured import Row
from experiments.analysis.reconstruct import one_of_each_class, reconstructions
from experiments.analysis.results import Run, load, read, was_searched
from experiments.analysis.rows import Panel, grouped, method_of, table
from experiments.analysis.series import Line
from experiments.analysis.words import label, title
from experiments.drawing import auxiliary, curves, digits, histograms, panes, style
from experiments.drawing.panes import Pane, Trace
from experiments.drawing.themes import LAYERS, METRICS, THEMES, View

Figures = dict[str, Figure]  # by the names of their files


def draw_curves(runs: list[Run], searched: bool = False) -> Figures:
    """Running training error and test error over epochs: a figure for each data set."""
    return _over_epochs(runs, 'error', ('train', 'test'), 'error (%)', 'curves', searched)


def draw_reconstruction(runs: list[Run], searched: bool = False) -> Figures:
    """Reconstruction loss over epochs: a figure for each data set."""
    parts = ('validation', 'test')
    return _over_epochs(runs, 'loss', parts, 'loss per pixel', 'autoencoder_losses', searched)


def _over_epochs(runs, measure, parts, score, name, searched) -> Figures:
    lines = {
        panel: series.curves(methods, parts, measure, searched)
        for panel, methods in table(runs).items()
        if panel.measure == measure
    }
    drawable = [panel for panel in lines if any(lines[panel].values())]
    return {
        f'{name}_{dataset}': curves.draw({title(panel): lines[panel] for panel in panels}, score)
        for dataset, panels in grouped(drawable, lambda panel: panel.dataset).items()
    }


def draw_histograms(runs: list[Run], searched: bool = False) -> Figures:
    """Test accuracies over the trials of each search: a figure for each data set and net."""
    searches = {
        panel: series.search_trials(methods, searched)
        for panel, methods in table(runs).items()
        if panel.measure == 'error'
    }
    return {
        _name('histograms', panel): histograms.draw(title(panel), found)
        for panel, found in searches.items()
        if found
    }


def draw_auxiliary(runs: list[Run], searched: bool = False) -> Figures:
    """Test error by auxiliary units: axes for each data set and net."""
    lines = {
        title(panel): series.by_units(methods, searched)
        for panel, methods in table(runs).items()
        if panel.measure == 'error'
    }
    lines = {name: found for name, found in lines.items() if found}
    return {'auxiliary': auxiliary.draw(lines)} if lines else {}


def draw_digits(runs: list[Run]) -> Figures:
    """A test digit of each class, and what each of the autoencoders makes of it."""
    if not runs:
        return {}
    if len({run.config['dataset'] for run in runs}) > 1:
        raise UserError('the autoencoders of one figure must have one data set')
    places = one_of_each_class(runs[0])
    rows = {}
    for run in runs:
        original, made = reconstructions(run, places)
        rows |= {'original': original, label(method_of(run)): made}
    return {'autoencoder_digits': digits.draw(rows)}


def draw_diagnostics(runs: list[Run], searched: bool = False) -> Figures:
    """What diagnostics found on validation images: a figure for each theme, data set and net."""
    figures = {}
    for panel, methods in table(runs).items():
        rows = measured.rows_of(methods, searched=searched)
        suffix = '_autoencoder' if panel.measure == 'loss' else ''
        for name, theme in THEMES.items():
            lines = {view: _lines(rows, view) for row in theme.rows for view in row}
            shown = [[view for view in row if lines[view]] for row in theme.rows]
            shown = [[_pane(view, lines[view]) for view in row] for row in shown if row]
            if shown:
                every = [line for found in lines.values() for line in found]
                legend = functools.partial(curves.legend, lines=every)
                figures[_name(f'diagnostics_{name}', panel) + suffix] = panes.draw(
                    title(panel), shown, legend
                )
    return figures


def _lines(rows: list[Row], view: View) -> list[Line]:
    if view.place == LAYERS:
        return measured.over_layers(rows, view.metric)
    return measured.over_epochs(rows, measured.name_of(*view))


def _pane(view: View, lines: list[Line]) -> Pane:
    words, scale = METRICS[view.metric]
    traces = [Trace(line.curve, style.line(line.method)) for line in lines]
    if view.place == LAYERS:
        return Pane(traces, 'layer (in the last epoch)', words, scale)
    return Pane(traces, 'epoch (all layers together)' if view.place else 'epoch', words, scale)


def _name(kind: str, panel: Panel) -> str:
    return f'{kind}_{panel.dataset}_{panel.net}'


KINDS: dict[str, tuple[Callable[[list[Run], bool], Figures], str]] = {
    'curves': (draw_curves, 'no epoch of a winner has been evaluated yet'),
    'histograms': (draw_histograms, 'no trial of a search has ended yet'),
    'auxiliary': (draw_auxiliary, 'no seed of a winner of ao_sdtp has ended yet'),
    'autoencoder': (
        draw_reconstruction,
        'there is no evaluated run of --config.loss=reconstruction; name some by --runs',
    ),
    'diagnostics': (
        draw_diagnostics,
        'no epoch of a run with --config.diagnostics has been evaluated yet',
    ),
}


def draw(kind: str, study: Path | None, workdirs: Sequence[Path] = ()) -> Figures:
    """The figures of one kind; workdirs are of autoencoders that show digits.

    Raises UserError where there is nothing to draw.
    """
    if workdirs and kind != 'autoencoder':
        raise UserError('--runs are autoencoders: they belong to the figure autoencoder')
    named = [read(workdir) for workdir in workdirs]
    runs = load(study) if study else named
    function, missing = KINDS[kind]
    found = function(runs, was_searched(study) if study else False) | draw_digits(named)
    if not found:
        raise UserError(f'{study} has nothing to draw {kind} of: {missing}')
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
