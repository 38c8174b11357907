"""A study's diagnostics as one table: every rule, metric and layer, over the seeds of its winner.

python -m experiments.insight --study=FOLDER --out=FILE.json

The file has the panels of the study (data set, net, loss). Each has its rows, with what was
measured on train and on validation images at the 'first' record (of train images that is before
the first step) and in the 'last' epoch, the mean over its records; and the differences of pairs of
rows in the last epoch, on validation images. It works while the study is in progress.
"""

from pathlib import Path

from absl import flags

from bioprop.errors import UserError
from bioprop.writers import write_json
from experiments.insights import insight, made_with
from experiments.launch import STUDY, launch
from experiments.results import load, was_searched

OUT = flags.DEFINE_string('out', None, 'File for the table. Default: STUDY/insight.json.')
flags.declare_key_flag('study')


def main(argv: list[str]) -> None:
    """Writes the table."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    study = Path(STUDY.value)
    runs = load(study)
    panels = insight(runs, was_searched(study))
    if not panels:
        raise UserError(
            f'{study} has nothing to reduce: no run of it was trained with --config.diagnostics'
        )
    out = Path(OUT.value) if OUT.value else study / 'insight.json'
    told = {'command': 'python -m experiments.insight', 'study': study.resolve().name}
    write_json(out, told | made_with(runs) | {'panels': panels})
    print(out)


if __name__ == '__main__':
    launch(main)
