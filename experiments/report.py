"""One HTML page on a study: what was run, tables, figures, winners, versions and hardware.

python -m experiments.report --study=FOLDER [--out=FILE.html]

The page holds everything itself: no network, no scripts. It works while the study is in progress.
"""

from pathlib import Path

from absl import flags

from bioprop.errors import UserError
from bioprop.writers import write_whole
from experiments.launch import STUDY, launch
from experiments.page import page_of

OUT = flags.DEFINE_string('out', None, 'File for the page. Default: STUDY/report.html.')
flags.declare_key_flag('study')


def main(argv: list[str]) -> None:
    """Writes the page."""
    if not STUDY.value:
        raise UserError('name the study: --study=FOLDER')
    out = Path(OUT.value or Path(STUDY.value) / 'report.html')
    write_whole(out, page_of(Path(STUDY.value)))
    print(out)


if __name__ == '__main__':
    launch(main)
