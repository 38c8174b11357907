"""Benchmarks of bioprop's parts, each against its floor and its peers in one run.

python -m experiments.benchmark step             a training step of every rule
python -m experiments.benchmark epoch            an epoch of BP through the training loop's program

Prints a table; --json=FILE writes its rows with what they were measured on. Times are the least
over interleaved calls. For steady figures use one core: taskset -c 0 python -m ...
"""

import json
from pathlib import Path

from absl import app, flags, logging

from bioprop.workdir import hardware, provenance
from experiments.benchmarks import epoch, step

BENCHMARKS = {'step': step, 'epoch': epoch}
BATCH = flags.DEFINE_integer('batch_size', None, "Examples a step; default: the benchmark's own.")
SECONDS = flags.DEFINE_float('seconds', 40.0, 'Time to spend on measuring.', lower_bound=1.0)
JSON = flags.DEFINE_string('json', None, 'File to write the rows to.')


def table(rows: list[dict]) -> str:
    """The rows under their keys, numbers with three decimals."""

    def cell(value):
        return f'{value:.3f}' if isinstance(value, float) else str(value)

    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join(
        '  '.join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in lines
    )


def main(argv: list[str]) -> None:
    """Runs one benchmark."""
    logging.set_verbosity(logging.ERROR)
    if len(argv) != 2 or argv[1] not in BENCHMARKS:
        raise app.UsageError(f'name one benchmark of: {", ".join(BENCHMARKS)}')
    module = BENCHMARKS[argv[1]]
    batch_size = BATCH.value or module.BATCH_SIZE
    rows = module.rows(batch_size, SECONDS.value)
    print(f'{argv[1]}: batch {batch_size}, float32, {hardware()}')
    print(table(rows))
    if JSON.value:
        content = {
            'command': f'python -m experiments.benchmark {argv[1]} --batch_size={batch_size}',
            **provenance(), 'rows': rows,
        }  # fmt: skip
        Path(JSON.value).write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    app.run(main)
