"""Looks into one run, finished or in training: why it learns, or does not.

python -m experiments.diagnose --workdir=RUN [--names=all] [--images=1000] [--out=FOLDER]

It draws what the run recorded by --config.diagnostics, and measures the named diagnostics at each
checkpoint that there is (the last two, and the best), on as many training and validation images:
tables on the console, figures as PNG and SVG, the numbers in measured.json, and report.html, which
holds everything itself. With --names= nothing is measured. The run is not disturbed.
"""

from absl import flags

from bioprop.command_line import run
from bioprop.diagnostics import named
from bioprop.errors import UserError
from bioprop.records.paths import local
from experiments.launch import out
from experiments.pages import run_page

WORKDIR = flags.DEFINE_string('workdir', None, 'Workdir of the run.')
NAMES = flags.DEFINE_string('names', 'all', 'Diagnostics to measure, as in --config.diagnostics.')
IMAGES = flags.DEFINE_integer('images', 1000, 'Of each part; less take less memory.', 2)
flags.DEFINE_string('out', None, 'Folder for page and figures. Default: RUN/diagnostics.')


def main(argv: list[str]) -> None:
    """Measures, draws and writes."""
    if not WORKDIR.value:
        raise UserError('name the run: --workdir=RUN')
    workdir, names = local(WORKDIR.value, '--workdir'), named(NAMES.value)
    for path in run_page.write(workdir, names, IMAGES.value, out(workdir / 'diagnostics')):
        print(path)


if __name__ == '__main__':
    run(main)
