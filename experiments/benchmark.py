"""Benchmarks of bioprop's parts, each against its floor and its peers in one run.

python -m experiments.benchmark step             a training step of every rule, MNIST's FC net
python -m experiments.benchmark step --net=cifar10_lc      the same on another net of table 3
python -m experiments.benchmark step --rules=l_drl --feedback_steps=20    of some, with more turns
python -m experiments.benchmark step --rules=predictive_coding:steps=6    of some, with options
python -m experiments.benchmark epoch            an epoch of BP through the training loop's program
python -m experiments.benchmark population       many runs as one program, and one after another
python -m experiments.benchmark dfa --net=cifar10_lc       DFA's feedback, stored and regenerated
python -m experiments.benchmark local            a locally connected layer, three shapes
python -m experiments.benchmark local --full     also every local layer of the paper's nets
python -m experiments.benchmark input            training crops from JPEGs, images a second
python -m experiments.benchmark diagnostics      what looking inside adds to training

Prints a table; --json=FILE writes its rows with what they were measured on. Times are the least
over interleaved calls. For steady figures use one core: taskset -c 0 python -m ...; --seconds is
the time to measure for, over all contestants: by default it is enough for a look, while cifar10_lc
wants some 200 and local --full some 600. Compiling comes on top.
"""

import json
from pathlib import Path

from absl import app, flags, logging

from bioprop.records.provenance import hardware, provenance
from experiments.benchmarks import dfa, diagnostics, epoch, input, local, population, step
from experiments.launch import divide_cpu

MODULES = (step, epoch, population, dfa, local, input, diagnostics)
BENCHMARKS = {module.__name__.rpartition('.')[2]: module for module in MODULES}
BATCH = flags.DEFINE_integer('batch_size', None, "Examples a step; default: the benchmark's own.")
SECONDS = flags.DEFINE_float('seconds', 40.0, 'Time to spend on measuring.', lower_bound=1.0)
JSON = flags.DEFINE_string('json', None, 'File to write the rows to.')


def table(rows: list[dict]) -> str:
    """The rows under their keys, numbers with three decimals."""
    shown = [[f'{x:.3f}' if isinstance(x, float) else str(x) for x in row.values()] for row in rows]
    lines = [list(rows[0]), *shown]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join(
        '  '.join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in lines
    )


def command(name: str, batch_size: int | None) -> str:
    """The command line that measures the same, without the file for its rows."""
    own = flags.FLAGS.get_key_flags_for_module(BENCHMARKS[name].__name__)
    options = [f'--batch_size={batch_size}'] if batch_size else []
    options += [flag.serialize() for flag in (*own, flags.FLAGS['seconds']) if flag.present]
    return ' '.join(['python -m experiments.benchmark', name, *options])


def main(argv: list[str]) -> None:
    """Runs one benchmark."""
    logging.set_verbosity(logging.ERROR)
    if len(argv) != 2 or argv[1] not in BENCHMARKS:
        raise app.UsageError(f'name one benchmark of: {", ".join(BENCHMARKS)}')
    module = BENCHMARKS[argv[1]]
    if module is population:
        divide_cpu()
    batch_size = BATCH.value or module.default_batch()
    rows = module.rows(batch_size, SECONDS.value)
    print(f'{command(argv[1], batch_size)}: float32, {hardware()}')
    print(table(rows))
    if JSON.value:
        content = {'command': command(argv[1], batch_size), **provenance(), 'rows': rows}
        Path(JSON.value).write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    app.run(main)
