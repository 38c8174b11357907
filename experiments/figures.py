"""The paper's figures, and a look inside, from the runs of a study, as PNG and SVG.

python -m experiments.figures curves --study=FOLDER       errors over epochs (its figures 2, 3, 8)
python -m experiments.figures histograms --study=FOLDER   accuracies over a search (figure 5)
python -m experiments.figures auxiliary --study=FOLDER    error by auxiliary units (figure 4)
python -m experiments.figures autoencoder --study=FOLDER [--runs=WORKDIR,...]
                                                          reconstruction (figures 6, 7)
python -m experiments.figures diagnostics --study=FOLDER  what --config.diagnostics found
python -m experiments.figures inverses --study=FOLDER     angles of targets by inverse and start

It works while the study is in progress. Digits need trained weights, which studies do not keep:
--runs names workdirs of bioprop.main. A line is the mean over the seeds of a row's winner, or of
its runs of the most epochs and seeds where there was no search; a band is a standard deviation.
"""

from pathlib import Path

from absl import flags

from bioprop.records.paths import local
from experiments.drawing.gallery import KINDS, draw, save
from experiments.launch import STUDY, launch, named_study, out

RUNS = flags.DEFINE_list('runs', [], 'Workdirs of autoencoders, for the digits.')
flags.declare_key_flag('study')
flags.DEFINE_string('out', None, 'Folder for the figures. Default: STUDY/figures.')


def main(argv: list[str]) -> None:
    """Draws one kind of figure."""
    study = named_study() if STUDY.value or not RUNS.value else None
    found = draw(argv[1], study, [local(name, '--runs') for name in RUNS.value])
    for path in save(found, out((study or Path()) / 'figures')):
        print(path)


if __name__ == '__main__':
    launch(main, tuple(KINDS))
