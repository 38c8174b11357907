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

from pathlib import Path

from absl import flags

from bioprop.errors import UserError
from experiments.drawing import style
from experiments.gallery import KINDS, Figures, draw_digits
from experiments.launch import STUDY, launch
from experiments.results import load, read, was_searched

OUT = flags.DEFINE_string('out', None, 'Folder for the figures. Default: STUDY/figures.')
RUNS = flags.DEFINE_list('runs', [], 'Workdirs of autoencoders, for the digits.')


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
