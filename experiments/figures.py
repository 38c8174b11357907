"""The paper's figures from the runs of a study, as PNG and SVG.

python -m experiments.figures curves --study=FOLDER       errors over epochs (its figures 2, 3, 8)
python -m experiments.figures histograms --study=FOLDER   accuracies over a search (figure 5)
python -m experiments.figures auxiliary --study=FOLDER    error by auxiliary units (figure 4)
python -m experiments.figures autoencoder --study=FOLDER [--runs=WORKDIR,...]
                                                          reconstruction (figures 6, 7)

It works while the study is in progress. Digits need trained weights, which studies do not keep:
--runs names workdirs of bioprop.main. A line is the mean over the seeds of a row's winner, or of
its runs of the most epochs and seeds where there was no search; a band is a standard deviation.
"""

from collections.abc import Callable
from pathlib import Path

from absl import flags
from matplotlib.figure import Figure

from bioprop.errors import UserError
from experiments import series
from experiments.drawing import auxiliary, curves, digits, histograms, style
from experiments.launch import STUDY, launch
from experiments.reconstruct import one_of_each_class, reconstructions
from experiments.results import Run, load, read, was_searched
from experiments.rows import Panel, grouped, method_of, table
from experiments.words import label, title

OUT = flags.DEFINE_string('out', None, 'Folder for the figures. Default: STUDY/figures.')
RUNS = flags.DEFINE_list('runs', [], 'Workdirs of autoencoders, for the digits.')

Figures = dict[str, Figure]  # by the names of their files


def draw_curves(runs: list[Run], searched: bool = False) -> Figures:
    """Running training error and test error over epochs: a figure for each data set."""
    return _over_epochs(runs, 'error', ('train', 'test'), 'error (%)', 'curves', searched)


def draw_reconstruction(runs: list[Run], searched: bool = False) -> Figures:
    """Reconstruction loss over epochs: a figure for each data set."""
    parts = ('validation', 'test')
    return _over_epochs(
        runs, 'loss', parts, 'squared error per pixel', 'autoencoder_losses', searched
    )


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


def _name(kind: str, panel: Panel) -> str:
    return f'{kind}_{panel.dataset}_{panel.net}'


KINDS: dict[str, tuple[Callable[[list[Run], bool], Figures], str]] = {
    'curves': (draw_curves, 'no epoch of a winner has been evaluated yet'),
    'histograms': (draw_histograms, 'no trial of a search has ended yet'),
    'auxiliary': (draw_auxiliary, 'no seed of a winner of ao_sdtp has ended yet'),
    'autoencoder': (
        draw_reconstruction,
        'there is no evaluated run of --config.loss=squared_error; name some by --runs',
    ),
}


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


def main(argv: list[str]) -> None:
    """Draws one kind of figure."""
    kind, workdirs = argv[1], [Path(name) for name in RUNS.value]
    if not STUDY.value and not workdirs:
        raise UserError('name the study: --study=FOLDER')
    if workdirs and kind != 'autoencoder':
        raise UserError('--runs are autoencoders: they belong to the figure autoencoder')
    study = Path(STUDY.value) if STUDY.value else None
    named = [read(workdir) for workdir in workdirs]
    runs = load(study) if study else named
    draw, missing = KINDS[kind]
    found = draw(runs, was_searched(study) if study else False) | draw_digits(named)
    if not found:
        raise UserError(f'{study} has nothing to draw {kind} of: {missing}')
    for path in save(found, Path(OUT.value) if OUT.value else (study or Path()) / 'figures'):
        print(path)


if __name__ == '__main__':
    launch(main, tuple(KINDS))
