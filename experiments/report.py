"""One HTML page on a study: what was run, tables, figures, winners, versions and hardware.

python -m experiments.report --study=FOLDER [--out=FILE.html]

The page holds everything itself: no network, no scripts. It works while the study is in progress.
"""

from absl import flags

from bioprop.records.writers import write_whole
from experiments.launch import launch, named_study, out
from experiments.pages.page import page_of

flags.declare_key_flag('study')
flags.DEFINE_string('out', None, 'File for the page. Default: STUDY/report.html.')


def main(argv: list[str]) -> None:
    """Writes the page."""
    path = out(named_study() / 'report.html')
    write_whole(path, page_of(named_study()))
    print(path)


if __name__ == '__main__':
    launch(main)
