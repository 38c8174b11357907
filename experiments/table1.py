"""Table 1 of the paper, with a validation split, seeds and error bars.

python -m experiments.table1 --dataset=mnist --net=fc --budget=0.01

For every row a random search, then its winner on several seeds. Runs or resumes; any number of
processes may work on one --study. Errors are in percent: `test` at the best validation epoch,
`best test` the lowest over the epochs (the paper's protocol).
"""

from absl import flags

from bioprop.settings import published
from experiments import launch, table

DATASET = flags.DEFINE_enum(
    'dataset', 'mnist', ['mnist', 'fashion_mnist', 'cifar10', 'mnist_mini'], 'Data set.'
)
NET = flags.DEFINE_enum('net', 'fc', ['fc', 'lc'], 'Fully or locally connected.')
flags.adopt_module_key_flags(launch)
flags.adopt_module_key_flags(table)


def main(argv: list[str]) -> None:
    """Makes the table."""
    figures = published.tables()['table1'].get(DATASET.value, {}).get(NET.value, {})
    table.make('experiments.table1', argv, DATASET.value, NET.value, figures)


if __name__ == '__main__':
    launch.launch(main)
