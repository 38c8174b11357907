"""Small random problems: a net, a batch, weights and hyperparameters for any rule."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioprop import diagnostics, networks, rules
from bioprop.losses import Loss, softmax_cross_entropy
from bioprop.networks import Network
from bioprop.objective import objective
from bioprop.rules import Context, Rule, infer

IN_SHAPE, HIDDEN, CLASSES, BATCH = (4, 3, 1), (7, 6, 5), 4, 6
LAYERS = len(HIDDEN) + 1
PAPERS = ('bp', 'fa', 'dfa', 'dtp', 'sdtp', 'ao_sdtp')  # the rules that are written out in tests
# One at least of every way to be a rule: by signals, a feedback loss, updates, inference.
WAYS = (*PAPERS, 'kolen_pollack', 'local_prediction', 'equilibrium_propagation')
HPARAMS = {
    'scale': 0.7, 'inverse_scale': 1.3, 'sigma': 0.2, 'alpha': 0.4, 'feedback_scale': 0.8,
    'beta': 0.5, 'gamma': 0.1, 'pull': 1.2, 'shrink': 0.6, 'explore': 0.1, 'damping': 0.3,
    'leak': 0.4, 'target': 0.2, 'move_clip': 0.9, 'orthogonality': 0.01, 'eta': 0.1, 'lam': 0.6,
    'mix': 0.3, 'gain': 0.7, 'nudge': 0.2, 'temperature': 2.0, 'hidden_rate': 3.0,
}  # fmt: skip

# Equal arguments give the same object, so that the functions below compile once for all tests.
feedforward = functools.cache(networks.feedforward)


@functools.cache
def make_rule(name):
    """A rule by name, its width fit for a small net."""
    return rules.get(name, **({'auxiliary_units': 3} if name == 'ao_sdtp' else {}))


@functools.cache
def _value_and_updates(network, rule, loss):
    return jax.jit(jax.value_and_grad(objective(network, rule, loss), has_aux=True))


@functools.cache
def _deltas(network, rule, loss):
    @jax.jit
    def deltas(weights, batch, key, hparams):
        states = network.states(weights['forward'], batch['image'])
        return rule.signals(network, weights, states, Context(loss, batch, key, hparams))

    return deltas


@functools.cache
def _states(network, rule, loss):
    return jax.jit(lambda weights, *known: infer(network, rule, weights, Context(loss, *known)))


@functools.cache
def _shapes(network, rule, x64):
    """Those of the weights; on x64 depends their type."""
    key = jax.random.key(0)
    return jax.eval_shape(lambda: rules.init_weights(key, network, rule))


@functools.cache
def _drawn(draw, loss):
    return jax.jit(lambda batch, key, l, h: draw(Context(loss, batch, key, {}), l, h))


@functools.cache
def _plain_gradient(network, loss):
    def plain(forward, h, label):
        for layer, params in zip(network.layers, forward, strict=True):
            h = layer.apply(params, h)
        return jnp.mean(loss.value(h, label))

    return jax.jit(jax.grad(plain))


class Problem(NamedTuple):
    """Everything that an objective needs, with nothing at its initial value."""

    network: Network
    rule: Rule
    loss: Loss
    weights: dict
    batch: dict
    key: jax.Array
    hparams: dict
    hidden: tuple = ()  # the numbers that a net of `feedforward` was made from
    net: str = 'fc'

    @property
    def objective(self):
        return objective(self.network, self.rule, self.loss)

    @property
    def arguments(self):
        return self.weights, self.batch, self.key, self.hparams

    @property
    def states(self):
        return _states(self.network, self.rule, self.loss)(*self.arguments)

    def noise(self, l, h):
        return _drawn(Context.noise, self.loss)(self.batch, self.key, l, h)

    def signs(self, l, h):
        return _drawn(Context.signs, self.loss)(self.batch, self.key, l, h)

    def uniform(self, l, h):
        return _drawn(Context.uniform, self.loss)(self.batch, self.key, l, h)

    def with_hparams(self, **hparams):
        new = {name: jnp.asarray(value, float) for name, value in hparams.items()}
        return self._replace(hparams=self.hparams | new)

    def value_and_updates(self):
        """((value, aux), updates): the rule through the objective."""
        return _value_and_updates(self.network, self.rule, self.loss)(*self.arguments)

    def updates(self):
        return self.value_and_updates()[1]

    def deltas(self):
        return _deltas(self.network, self.rule, self.loss)(*self.arguments)

    def bp_updates(self):
        """jax.grad of the plain mean loss."""
        gradient = _plain_gradient(self.network, self.loss)
        return gradient(self.weights['forward'], self.batch['image'], self.batch['label'])

    def transposed_jacobians(self, top=lambda o: 1.0):
        """g_l(y) = W_l (s'_l * y) at the states; at the top it is that of the logits.

        `top` multiplies what comes in there. Auxiliary units get a random kernel beside W_L.
        """
        states, forward = self.states, self.weights['forward']

        def inverse(network, weights, l, y):
            layer, kernel = network.layers[l - 1], forward[l - 1]['kernel']
            if l < len(states) - 1:
                return layer.transpose(kernel, layer.slope(states[l]) * y)
            extra = jax.random.normal(jax.random.key(9), (len(kernel), y.shape[-1] - CLASSES))
            y = y * top(self.loss.output(states[-1]))
            return layer.transpose(jnp.concatenate([kernel, extra], axis=-1), y)

        return inverse


def distance(found, expected):
    """As a share, over all leaves."""
    pairs = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
    squares = np.array([[np.sum((u - v) ** 2), np.sum(v**2)] for u, v in pairs]).sum(axis=0)
    return np.sqrt(squares[0] / squares[1])


def full(*values):
    """A case of a product whose values all stand in others: for the full run."""
    return pytest.param(*values, marks=pytest.mark.full)


def thinned(rows, columns):
    """All pairs; in the usual run each row once, and the columns in turn."""
    return [
        (row, column) if place % len(columns) == number else full(row, column)
        for place, row in enumerate(rows)
        for number, column in enumerate(columns)
    ]


def random_like(random, tree, scale=0.5):
    """Normal arrays, biases too, in the shapes of a tree."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape), leaf.dtype), tree
    )


def problem(
    rule, activation='tanh', network=None, loss=softmax_cross_entropy, seed=0, size=BATCH,
    in_shape=IN_SHAPE, hidden=HIDDEN, net='fc',
):  # fmt: skip
    """A random problem for a rule, or for the rule of a name."""
    rule = make_rule(rule) if isinstance(rule, str) else rule
    network = network or feedforward(in_shape, hidden, CLASSES, activation, net)
    random = np.random.default_rng(seed)
    weights = random_like(random, _shapes(network, rule, jax.config.jax_enable_x64))
    if not loss.reconstructs:
        label = jnp.asarray(random.integers(CLASSES, size=size), jnp.int32)
    else:
        label = jnp.asarray(random.uniform(size=(size, *network.out_shape)), float)
    batch = {
        'image': jnp.asarray(random.normal(size=(size, *network.in_shape)), float),
        'label': label,
        'index': jnp.arange(size),
    }
    hparams = {name: jnp.asarray(value, float) for name, value in HPARAMS.items()}
    key = jax.random.key(seed)
    return Problem(network, rule, loss, weights, batch, key, hparams, hidden, net)


def measure(p, *names):
    """The numbers of these diagnostics on a problem, as floats."""

    @jax.jit
    def found(*arguments):
        return diagnostics.measure(names, p.network, p.rule, p.loss, *arguments)

    return {name: float(value) for name, value in found(*p.arguments).items()}


def numpy(tree):
    """The tree with NumPy arrays for leaves, keys as their data."""
    return jax.tree.map(_numpy, tree)


def _numpy(x):
    x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return np.asarray(x)
