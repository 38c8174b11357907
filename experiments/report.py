"""One HTML page on a study: what was run, tables, figures, winners, versions and hardware.

python -m experiments.report --study=FOLDER [--out=FILE.html]

The page holds everything itself: no network, no scripts. It works while the study is in progress.
"""

from absl import flags

from bioprop.errors import UserError
from bioprop.records.paths import local
from bioprop.records.writers import write_whole
from experiments.launch import STUDY, launch
from experiments.pages.page import page_of

OUT = flags.DEFINE_string('out', None, 'File for the page. Default: STUDY/report.html.')
flags.declare_key_flag('study')


def main(argv: list[str]) -> None:
    """Writes the page."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    study = local(STUDY.value, '--study')
    out = local(OUT.value, '--out') if OUT.value else study / 'report.html'
    write_whole(out, page_of(study))
    print(out)


if __name__ == '__main__':
    launch(main)
