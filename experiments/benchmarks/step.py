"""One training step of every rule, against plain BP written by hand and against its products.

The net is the paper's for MNIST (784, 5 x 256, 10), the optimiser Adam on both sides.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import optax

from bioprop import networks, optim, rules, step
from bioprop.losses import softmax_cross_entropy
from experiments.benchmarks import floor, timing

BATCH_SIZE = 128
IN_SHAPE, HIDDEN, OUTPUTS = (28, 28, 1), (256,) * 5, 10
WIDTHS = (math.prod(IN_SHAPE), *HIDDEN, OUTPUTS)
HPARAMS = {
    'lr': 1e-4, 'inverse_lr': 1e-4, 'alpha': 0.1, 'sigma': 0.1, 'scale': 1.0, 'inverse_scale': 1.0,
    'feedback_scale': 1.0,
}  # fmt: skip


def learner(rule: str) -> step.Learner:
    """The paper's fully connected net for MNIST under a rule, with Adam."""
    made = rules.get(rule)
    optimizers = {'forward': lambda hparams: optim.optimizer('adam', hparams['lr'])}
    if 'feedback' in made.sides:
        optimizers['feedback'] = lambda hparams: optim.optimizer('adam', hparams['inverse_lr'])
    net = networks.feedforward(IN_SHAPE, HIDDEN, OUTPUTS)
    return step.Learner(net, made, softmax_cross_entropy, optimizers)


def random_batch(batch: int) -> dict[str, jax.Array]:
    """Images, labels and indices in the shapes of MNIST."""
    image = jax.random.uniform(jax.random.key(0), (batch, *IN_SHAPE))
    label = jax.random.randint(jax.random.key(1), (batch,), 0, OUTPUTS)
    return {'image': image, 'label': label, 'index': jnp.arange(batch)}


def rule_step(rule: str, batch: dict[str, jax.Array]):
    """A call that takes one step of the rule, both sides in parallel."""
    made = learner(rule)
    hparams = {name: jnp.asarray(value) for name, value in HPARAMS.items()}
    turns = (tuple(made.optimizers),)
    state = step.init_state(made, jax.random.key(2), hparams)
    return timing.stepper(
        lambda state: step.train_step(made, turns, state, batch, hparams)[0], state
    )


def plain_loss(weights, image, label):
    """The mean cross-entropy of a tanh network, as anyone would write it."""
    h = image.reshape(len(image), -1)
    for kernel, bias in weights[:-1]:
        h = jnp.tanh(h @ kernel + bias)
    kernel, bias = weights[-1]
    logits = h @ kernel + bias
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()


def plain_weights():
    """Glorot-uniform kernels and zero biases."""
    init = jax.nn.initializers.glorot_uniform()
    return [
        (init(jax.random.key(i), pair), jnp.zeros(pair[1]))
        for i, pair in enumerate(itertools.pairwise(WIDTHS))
    ]


def plain_update(optimizer, carry, image, label):
    """A step of plain BP: (weights, optimiser state) -> the same."""
    weights, moments = carry
    gradients = jax.grad(plain_loss)(weights, image, label)
    updates, moments = optimizer.update(gradients, moments)
    return optax.apply_updates(weights, updates), moments


def plain_step(batch: dict[str, jax.Array]):
    """A call that takes one step of BP written by hand, without bioprop."""
    optimizer, weights = optax.adam(1e-4), plain_weights()
    update = functools.partial(plain_update, optimizer, image=batch['image'], label=batch['label'])
    return timing.stepper(update, (weights, optimizer.init(weights)))


def rows(batch_size: int, seconds: float) -> list[dict]:
    """One row a contestant: ms, ratio to plain BP, ratio to the rule's own matrix products."""
    batch = random_batch(batch_size)
    names = list(rules.RULES)
    contestants = {'plain_bp': plain_step(batch)}
    contestants |= {name: rule_step(name, batch) for name in names}
    auxiliary = {'ao_sdtp': 256}
    items = {
        name: list(
            itertools.chain(*floor.products(name, WIDTHS, batch_size, auxiliary.get(name, 0)))
        )
        for name in names
    }
    contestants |= {f'{name} floor': floor.run(items[name]) for name in names}
    least = timing.interleave(contestants, seconds)
    return [
        {
            'contestant': name,
            'ms_step': least[name],
            'ratio_to_plain_bp': least[name] / least['plain_bp'],
            'ratio_to_bp': least[name] / least['bp'],
            'mflop': floor.flops(items[kind]) / 1e6,
            'ms_floor': least[f'{kind} floor'],
            'ratio_to_floor': least[name] / least[f'{kind} floor'],
        }
        for name, kind in (('plain_bp', 'bp'), *zip(names, names, strict=True))
    ]
