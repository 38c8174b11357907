"""One training step of every rule, against plain BP written by hand and against its products.

The net is one of table 3, the optimiser Adam on both sides. On a net of many weights every rule
takes turns with BP alone, since all states together would not fit; ratios are to the BP timed
beside a rule.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from absl import flags

from bioprop import networks, rules
from bioprop.costs import products, trace
from bioprop.losses import softmax_cross_entropy
from bioprop.settings import published
from bioprop.settings.keys import literal
from bioprop.training import optim
from bioprop.training.learner import Learner, init_state
from bioprop.training.schedules import passes
from bioprop.training.step import train_step
from experiments.benchmarks import floor, plain, timing
from experiments.benchmarks.nets import Net, paper_net

NET = flags.DEFINE_string(
    'net', 'mnist_fc', 'step, dfa: DATASET_NET of table 3, such as cifar10_lc.'
)
ONLY = flags.DEFINE_list(
    'rules', [], 'step: these, as NAME or NAME:OPTION=VALUE:..., beside plain BP and BP; else all.'
)
FEEDBACK_STEPS = flags.DEFINE_integer(
    'feedback_steps', 1, 'step: turns of the feedback weights in a step.', lower_bound=1
)
BATCH_SIZES = {'mnist_fc': 128}  # 100 elsewhere
RULES = tuple(rules.RULES)
flags.register_validator(
    'rules',
    lambda given: set(RULES).issuperset(each.partition(':')[0] for each in given),
    message=f'known rules: {", ".join(RULES)}',
)
TOGETHER = 5_000_000  # weights of a net up to which all rules take turns with one another
STEPS = 20  # in a call, on such a net
HPARAMS = {
    'lr': 1e-4, 'feedback_lr': 1e-4,
    **{
        each.name: 0.1 if each.default is None else each.default
        for name in RULES for each in rules.get(name).hparams
    },
}  # fmt: skip


def default_batch() -> int:
    """Examples a step."""
    return BATCH_SIZES.get(NET.value, 100)


def learner(rule: str, net: Net) -> Learner:
    """The net under a rule, as --rules has it, with Adam."""
    name, *given = rule.split(':')
    options = {key: literal(text) for key, _, text in (each.partition('=') for each in given)}
    made = rules.get(name, **published.options(net.dataset, name) | options)
    optimizers = {'forward': lambda hparams: optim.optimizer('adam', hparams['lr'])}
    if 'feedback' in made.sides:
        optimizers['feedback'] = lambda hparams: optim.optimizer('adam', hparams['feedback_lr'])
    return Learner(net.network, made, softmax_cross_entropy, optimizers)


def random_batch(net: Net, batch: int) -> dict[str, jax.Array]:
    """Images, labels and indices in the net's shapes."""
    image = jax.random.uniform(jax.random.key(0), (batch, *net.in_shape))
    label = jax.random.randint(jax.random.key(1), (batch,), 0, net.outputs)
    return {'image': image, 'label': label, 'index': jnp.arange(batch)}


def rule_step(
    rule: str, net: Net, batch: dict[str, jax.Array], steps: int = 1, feedback_steps: int = 1
) -> timing.Stepper:
    """A call that takes so many steps of the rule, both sides in parallel, and tells the metrics.

    Without them a compiler leaves out an inference that serves nothing else.
    """
    made = learner(rule, net)
    hparams = {name: jnp.asarray(value) for name, value in HPARAMS.items()}
    turns = turns_of(made, feedback_steps)
    state = init_state(made, jax.random.key(2), hparams)

    def step(carry):
        return train_step(made, turns, carry[0], batch, hparams)

    metrics = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(step, (state,))[1])
    return timing.Stepper(step, (state, metrics), steps)


def rule_products(
    rule: str, net: Net, batch_size: int, feedback_steps: int = 1
) -> list[products.Product]:
    """All matrix products of a step of the rule."""
    made = learner(rule, net)
    return trace.trace_step(made, turns_of(made, feedback_steps), batch_size, HPARAMS).products


def turns_of(made: Learner, feedback_steps: int) -> tuple:
    """The turns of a step: all sides in parallel, with so many of the feedback weights."""
    return passes('parallel', tuple(made.optimizers), feedback_steps)[0]


def work_in_bp(rule: str, net: Net, batch_size: int = 100) -> float:
    """The operations of a step's products, in those of backpropagation."""
    ours, theirs = (products.flops(rule_products(name, net, batch_size)) for name in (rule, 'bp'))
    return ours / theirs


def parameters(net: Net) -> int:
    """Forward weights of the net, biases included."""
    return networks.parameter_count(jax.eval_shape(net.network.init, jax.random.key(0)))


def steps_of(net: Net) -> int:
    """Steps in a call: a few, where the call itself would count."""
    return STEPS if parameters(net) <= TOGETHER else 1


def groups(net: Net, names: Sequence[str] = RULES) -> list[tuple[str, ...]]:
    """Who takes turns with whom; BP is in every group, and the first one has plain BP."""
    others = [name for name in names if name != 'bp']
    if parameters(net) <= TOGETHER:
        return [('plain_bp', 'bp', *others)]
    return [('plain_bp', 'bp'), *(('bp', name) for name in others)]


def rows(batch_size: int, seconds: float) -> list[dict]:
    """The rows of the net that --net names."""
    names = ONLY.value or RULES
    return net_rows(paper_net(NET.value), batch_size, seconds, names, FEEDBACK_STEPS.value)


def net_rows(
    net: Net,
    batch_size: int,
    seconds: float,
    names: Sequence[str] = RULES,
    feedback_steps: int = 1,
) -> list[dict]:
    """One row a contestant: ms, ratio to plain BP, ratio to the rule's own matrix products.

    peak_bytes is all that the step's program needs, weights, moments and batch included.
    """
    batch = random_batch(net, batch_size)
    bp = rule_step('bp', net, batch, steps_of(net))
    found = {}
    for group in (parts := groups(net, names)):
        share = seconds / len(parts)
        for row in _group_rows(group, bp, net, batch, share, feedback_steps):
            found.setdefault(row['contestant'], row)
    to_bp = found['plain_bp']['ratio_to_bp']
    return [row | {'ratio_to_plain_bp': row['ratio_to_bp'] / to_bp} for row in found.values()]


def _group_rows(group, bp, net, batch, seconds, feedback_steps):
    """Rows of contestants that take turns, without their ratios to plain BP.

    Everything but BP is made here and let go of at the end.
    """
    size, each = len(batch['label']), steps_of(net)
    kinds = {name: 'bp' if name == 'plain_bp' else name for name in group}
    items = {kind: rule_products(kind, net, size, feedback_steps) for kind in kinds.values()}
    steps = {'bp': bp}
    for name in group:
        if name == 'plain_bp':
            steps[name] = plain.step(net, batch, each)
        elif name != 'bp':
            steps[name] = rule_step(name, net, batch, each, feedback_steps)
    floors = {f'{kind} floor': floor.run(items[kind], steps=each) for kind in items}
    least = timing.interleave(steps | floors, seconds)
    least = {name: took / each for name, took in least.items()}
    return [
        {
            'contestant': name,
            'ms_step': least[name],
            'ratio_to_plain_bp': None,
            'ratio_to_bp': least[name] / least['bp'],
            'mflop': products.flops(items[kind]) / 1e6,
            'ms_floor': least[f'{kind} floor'],
            'ratio_to_floor': least[name] / least[f'{kind} floor'],
            'peak_bytes': steps[name].peak_bytes,
        }
        for name, kind in kinds.items()
    ]
