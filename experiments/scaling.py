"""How rules do as nets grow deeper and wider, beside backpropagation.

python -m experiments.scaling

Nets of --depths hidden layers of 256 units, and of 3 hidden layers of --widths, by every rule of
--rows. A rule has its tuned settings, those for MNIST's dense net of 5 x 256, on all nets: what is
shown is how they carry over, and not what a search on each net would find. A rule whose step takes
more than 10 of backpropagation's is trained for so many epochs less. Runs or resumes; any number
of processes may work on one --study, and rules, depths and widths may be added to it. With
--finished the tables and the figure are of the runs that have ended so far.
"""

import jax
from absl import flags

from bioprop.data.shapes import describe
from bioprop.errors import UserError
from bioprop.records import runs as read_runs
from bioprop.records.writers import write_json, write_whole
from bioprop.rules import catalogue
from bioprop.running.run import make_hparams, make_learner
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.studies.study import Config, run_name
from bioprop.training.learner import init_state
from experiments import launch
from experiments.analysis import scaling
from experiments.analysis.leaders import share_of
from experiments.analysis.origins import made_with
from experiments.analysis.rows import placed
from experiments.analysis.scaling import BASE, DEPTH, WIDTH
from experiments.benchmarks.nets import paper_net
from experiments.benchmarks.step import work_in_bp
from experiments.drawing import scaling as drawing
from experiments.drawing.gallery import save

RULES = [  # two or more of most families, of little work
    'bp', 'shallow', 'fa', 'usf', 'kolen_pollack', 'dfa', 'drtp', 'local_prediction', 'pepita',
    'node_perturbation', 'dtp', 'l_drl', 'dual_propagation', 'predictive_coding', 'two_sites',
    'burst',
]  # fmt: skip
LOOKING = {'diagnostics': 'signal,update', 'diagnostics_every': 540}

DATASET = flags.DEFINE_enum(
    'dataset', 'fashion_mnist', ['fashion_mnist', 'mnist', 'mnist_mini'], 'Images.'
)
ROWS = flags.DEFINE_list('rows', RULES, 'Rules; backpropagation is always one.')
DEPTHS = flags.DEFINE_list('depths', ['1', '2', '3', '5', '8', '12'], f'Hidden layers of {WIDTH}.')
WIDTHS = flags.DEFINE_list(
    'widths', ['32', '64', '128', '256', '512', '1024'], f'Units of {DEPTH} hidden layers.'
)
flags.register_multi_flags_validator(
    ['depths', 'widths'],
    lambda given: all(each.isdigit() and int(each) for sizes in given.values() for each in sizes),
    'depths and widths are whole numbers of at least 1',
)
EPOCHS = flags.DEFINE_integer('epochs', 10, 'Of a rule whose work is little.', 1)
SEEDS = flags.DEFINE_integer('seeds', 2, 'Of each rule and net.', 1)
SETTINGS = flags.DEFINE_string('settings', '', 'key=value,... for the configs of all rows.')
FINISHED = flags.DEFINE_bool('finished', False, 'Train nothing: tell of what has ended.')
flags.DEFINE_string('out', None, 'Path of the files .md, .json, .png, .svg; default: in STUDY.')
flags.adopt_module_key_flags(launch)


def nets() -> list[tuple[int, ...]]:
    """Hidden layers, each net once."""
    deep = [(WIDTH,) * int(depth) for depth in DEPTHS.value]
    return list(dict.fromkeys([*deep, *((int(width),) * DEPTH for width in WIDTHS.value)]))


def planned(names: list[str]) -> tuple[list[Config], list[dict]]:
    """The runs of the rules, and which nets which rule cannot train, with the reason."""
    configs, refused = [], []
    for name in names:
        epochs = None
        for hidden in nets():
            try:
                epochs = epochs or epochs_of(name)
                config = resolved(name, hidden, epochs)
            except UserError as error:
                refused.append({'rule': name, 'hidden': hidden, 'reason': str(error)})
            else:
                configs += [config | {'seed': seed} for seed in range(1, 1 + SEEDS.value)]
    return configs, refused


def epochs_of(rule: str) -> int:
    """Of a rule, by the work of its step on the paper's net."""
    return max(1, round(share_of(work_in_bp(rule, paper_net('mnist_fc'))) * EPOCHS.value))


def resolved(rule: str, hidden: tuple[int, ...], epochs: int) -> Config:
    """The configuration, by the flags. Raises UserError if the rule cannot train the net."""
    config = resolve(
        paper(
            DATASET.value, rule, SETTINGS.value,
            net='fc', hidden=hidden, hyperparameters='tuned', epochs=epochs, **LOOKING,
        )
    )  # fmt: skip
    shapes = describe(DATASET.value, *(config[key] for key in ('validation_fraction', 'data_dir')))
    learner = make_learner(config, shapes)
    jax.eval_shape(
        lambda key: init_state(learner, key, make_hparams(config, learner)), jax.random.key(0)
    )
    return config


def main(argv: list[str]) -> None:
    """Trains the rules on the nets, and writes tables and figure."""
    chosen = list(dict.fromkeys([BASE, *ROWS.value]))
    catalogue.check(chosen)
    configs, refused = planned(chosen)
    protocol = (DATASET, EPOCHS, SEEDS, SETTINGS)
    study = launch.open_study(
        f'studies/scaling_{DATASET.value}', {flag.name: flag.value for flag in protocol}
    )
    if not FINISHED.value:
        study.work(lambda result: configs)
    runs = read_runs(study.folder)
    runs = placed(runs[runs['name'].isin(map(run_name, configs)) & runs.finished.astype(bool)])
    if runs.empty:
        raise UserError(f'{study.folder} has nothing to tell yet: none of its runs has ended')
    rows = scaling.rows(runs)
    out = launch.out(study.folder / 'scaling')
    content = {'command': launch.command('experiments.scaling', argv), **made_with(runs)}
    write_json(
        out.with_suffix('.json'),
        content | {'dataset': DATASET.value, 'scaling': rows, 'refused': refused},
    )
    write_whole(out.with_suffix('.md'), scaling.text(rows, 'github') + '\n')
    save({out.stem: drawing.draw(rows, runs.panel.iloc[0].title)}, out.parent)
    print(scaling.text(rows))


if __name__ == '__main__':
    launch.launch(main)
