"""Table 2 of the paper: ImageNet, locally connected, top-1 error.

python -m experiments.table2 --budget=0.1

As the paper did, each row's search trains for 10 epochs, and only its best configuration goes on.
Otherwise like `experiments.table1`.
"""

from absl import flags

from bioprop.settings import published
from experiments import launch, table

DATASET = flags.DEFINE_string('dataset', 'imagenet2012', 'ImageNet, or a set like it.')
flags.adopt_module_key_flags(launch)
flags.adopt_module_key_flags(table)


def main(argv: list[str]) -> None:
    """Makes the table."""
    figures = {
        name: {'test': row['top1']}
        for name, row in published.tables()['table2_imagenet_lc'].items()
    }
    table.make('experiments.table2', argv, DATASET.value, 'lc', figures, rungs='imagenet')


if __name__ == '__main__':
    launch.launch(main)
