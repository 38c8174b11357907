"""A study's diagnostics as one table: every rule, metric and layer, over the seeds of its winner.

python -m experiments.insight --study=FOLDER --out=FILE.json

The file has the panels of the study (data set, net, loss). Each has its rows, with what was
measured on train and on validation images at the 'first' record (of train images that is before
the first step) and in the 'last' epoch, the mean over its records; and the differences of pairs of
rows in the last epoch, on validation images. Numbers have four digits. It works while the study is
in progress.
"""

import json
from typing import Any

from absl import flags

from bioprop.errors import UserError
from bioprop.records.paths import local
from bioprop.records.writers import write_whole
from experiments.analysis.insights import insight
from experiments.analysis.origins import made_with
from experiments.analysis.results import load, was_searched
from experiments.launch import STUDY, launch

OUT = flags.DEFINE_string('out', None, 'File for the table. Default: STUDY/insight.json.')
flags.declare_key_flag('study')


def main(argv: list[str]) -> None:
    """Writes the table."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    study = local(STUDY.value, '--study')
    runs = load(study)
    panels = insight(runs, was_searched(study))
    if not panels:
        raise UserError(
            f'{study} has nothing to reduce: no run of it was trained with --config.diagnostics'
        )
    out = local(OUT.value, '--out') if OUT.value else study / 'insight.json'
    told = {'command': 'python -m experiments.insight', 'study': study.resolve().name}
    content = told | made_with(runs) | {'panels': rounded(panels)}
    write_whole(out, json.dumps(content, separators=(',', ':')) + '\n')
    print(out)


def rounded(tree: Any) -> Any:
    """With the floats of a tree of dictionaries and lists to four digits."""
    match tree:
        case dict():
            return {key: rounded(value) for key, value in tree.items()}
        case list():
            return [rounded(value) for value in tree]
        case float():
            return float(f'{tree:.4g}')
    return tree


if __name__ == '__main__':
    launch(main)
