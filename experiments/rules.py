"""Writes the page of all rules.

python -m experiments.rules
"""

from pathlib import Path

from absl import app, flags

from bioprop.records.writers import write_whole
from experiments.pages import rules

ROOT = Path(__file__).parents[1]
OUT = flags.DEFINE_string('out', str(ROOT / 'docs' / 'rules.md'), 'File to write.')
RESULTS = flags.DEFINE_string(
    'results', str(ROOT / 'results' / 'rules_mnist.json'), 'Runs that experiments.collect wrote.'
)


def main(argv: list[str]) -> None:
    """Writes the page."""
    if argv[1:]:
        raise app.UsageError(f'no arguments without a name are taken: {argv[1:]}')
    write_whole(Path(OUT.value), rules.page(Path(RESULTS.value)))
    print(OUT.value)


if __name__ == '__main__':
    app.run(main)
