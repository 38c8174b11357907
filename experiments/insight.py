"""A study's diagnostics as one table: every rule, metric and layer, over the seeds of its winner.

python -m experiments.insight --study=FOLDER --out=FILE.json

The file has the panels of the study (data set, net, loss). Each has its rows, with what was
measured on train and on validation images at the 'first' record (of train images that is before
the first step) and in the 'last' epoch, the mean over its records; and the differences of pairs of
rows in the last epoch, on validation images, with standard errors and 95 % intervals. Numbers have
four digits. It works while the study is in progress.
"""

import json

from absl import flags

from bioprop.errors import UserError
from bioprop.records.writers import write_whole
from experiments.analysis.insights import insight
from experiments.analysis.origins import made_with
from experiments.analysis.rows import load
from experiments.launch import launch, named_study, out

flags.declare_key_flag('study')
flags.DEFINE_string('out', None, 'File for the table. Default: STUDY/insight.json.')


def main(argv: list[str]) -> None:
    """Writes the table."""
    study = named_study()
    runs = load(study)
    panels = insight(runs)
    if not panels:
        raise UserError(
            f'{study} has nothing to reduce: no run of it was trained with --config.diagnostics'
        )
    path = out(study / 'insight.json')
    told = {'command': 'python -m experiments.insight', 'study': study.resolve().name}
    content = json.dumps(told | made_with(runs) | {'panels': panels})
    short = json.loads(content, parse_float=lambda number: float(f'{float(number):.4g}'))
    write_whole(path, json.dumps(short, separators=(',', ':')) + '\n')
    print(path)


if __name__ == '__main__':
    launch(main)
