"""The rule contract: a learning rule is a few pure functions on the network.

For every layer l = 1..L a rule says in which direction it wants h_l to shrink: `signals` gives
delta_l, per example and in the shape of h_l. It is dL/dh_l for backpropagation and proportional to
h_l - t_l for target rules. The update of layer l is then the VJP of f_l alone at
(params_l, h_{l-1}), applied to delta_l and averaged over the batch.

Weights are {'forward', 'feedback', 'fixed'}. `feedback` is trained, by the gradient of
`feedback_loss`; `fixed` holds random feedback that never changes, or the keys that it is drawn
from. Feedback that belongs to layer l stands at index l - 1, like the layer itself, and None stands
where a rule has none.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

from bioprop.losses import Loss
from bioprop.networks import Network

PHASES = ('free', 'taught')  # of a rule that relaxes: alone, and told of the label
Weights = dict[str, Any]
States = tuple[jax.Array, ...]


class Context(NamedTuple):
    """What a rule may know beyond the network.

    batch is {'image': (batch, *in_shape), 'label', 'index': (batch,)}; index is the example's
    place in the global batch. hparams are traced scalars, or one value a layer (length L).
    """

    loss: Loss
    batch: dict[str, jax.Array]
    key: jax.Array
    hparams: dict[str, jax.Array]

    def hparam(self, name: str, l: int) -> jax.Array:
        """The hyperparameter `name` for layer l = 1..L."""
        value = self.hparams[name]
        return value[l - 1] if getattr(value, 'ndim', 0) else value

    def error(self, states: States) -> jax.Array:
        """dL/dh_L, per example."""
        return self.loss.error(states[-1], self.batch['label'])

    def noise(self, l: int, h: jax.Array) -> jax.Array:
        """Standard normal noise in the shape of h, of its own for each l and each example.

        It depends on the example's place in the global batch, hence not on how the batch is spread
        over devices.
        """
        return jax.vmap(lambda key: jax.random.normal(key, h.shape[1:], h.dtype))(self._keys(l))

    def signs(self, l: int, h: jax.Array) -> jax.Array:
        """+1 and -1 in the shape of h, for each l and each example like `noise`."""
        return jax.vmap(lambda key: random_signs(key, h.shape[1:], h.dtype))(self._keys(l))

    def uniform(self, l: int, h: jax.Array) -> jax.Array:
        """Uniform in (0, 1) in the shape of h, for each l and each example like `noise`."""
        return jax.vmap(lambda key: random_uniform(key, h.shape[1:], h.dtype))(self._keys(l))

    def _keys(self, l):
        key = jax.random.fold_in(self.key, l)
        return jax.vmap(jax.random.fold_in, (None, 0))(key, self.batch['index'])


def random_signs(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """+1 and -1 at even odds, 32 to a draw: a twentieth of the time of normal noise."""
    count = math.prod(shape)
    words = jax.random.bits(key, (math.ceil(count / 32), 1), 'uint32')
    bits = (words >> jnp.arange(32, dtype='uint32')[None]) & 1
    return (2 * bits.astype(dtype) - 1).reshape(-1)[:count].reshape(shape)


def random_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Middles of 2^16 parts of (0, 1), four of each Threefry block: jax.random keeps one."""
    count = math.prod(shape)
    place = jnp.arange(math.ceil(count / 2), dtype='uint32')
    words = threefry_2x32(jax.random.key_data(key)[:2], place)
    parts = jax.lax.bitcast_convert_type(words, 'uint16').reshape(-1)[:count]
    return ((parts.astype(dtype) + 0.5) / 2**16).reshape(shape)


class Hyperparameter(NamedTuple):
    """A number that a rule reads from the context, and what a search may draw for it."""

    name: str
    default: float | None = None  # None: whoever trains the rule must say
    low: float | None = None  # with high None: a search leaves it as it is
    high: float | None = None
    log: bool = False  # whether it is drawn uniformly in its logarithm
    least: float = -math.inf  # a smaller one is refused


class Rule(NamedTuple):
    """A learning rule.

    init: (key, network, forward) -> (feedback, fixed)
    signals: (network, weights, states, context) -> (delta_1, ..., delta_L)
    feedback_loss: (network, weights, states, context) -> scalar; None if nothing is trained by it
    updates: (network, weights, states, context) -> {'forward', 'feedback'}, for rules that need
        more than the above; it takes their place, and signals beside it are for looking inside
    infer: (network, weights, context) -> (h_0, ..., h_L), from the images alone: context.batch has
        no labels. h_L is what the loss reads as logits. None: the forward pass. Training and
        evaluation take it, and the functions above are given its states
    hparams: those that the rule reads from the context
    transforms: ((side, hparams -> optax.GradientTransformation), ...), each put behind the
        optimiser of its side: see `bioprop.rules.transforms`
    start: weights -> weights, what is made of those that were drawn

    What follows is for looking inside alone (`bioprop.diagnostics`), and None where there is none:

    displacements: (network, weights, states, context) -> (h_1 - t_1, ..., h_{L-1} - t_{L-1})
    inverse: (network, weights, context, l, x, h) -> x again: g_l of the state h = f_l(x), for the
        layers that have feedback weights
    phases: (network, weights, states, context) -> {'free': (before, after), 'taught': ...}, of each
        relaxation of PHASES the states that it ends with, and those of one sweep more: trees of
        (batch, ...)
    hertz: spikes a second of a hidden unit whose state is 1, of a rule whose units spike
    feedback_kernels: (network, weights) -> what takes the place of W_l on the way down, in its
        shape, for every layer; None where nothing does
    """

    init: Callable
    signals: Callable | None = None
    feedback_loss: Callable | None = None
    updates: Callable | None = None
    infer: Callable | None = None
    hparams: tuple[Hyperparameter, ...] = ()
    transforms: tuple[tuple[str, Callable], ...] = ()
    start: Callable | None = None
    displacements: Callable | None = None
    inverse: Callable | None = None
    phases: Callable | None = None
    hertz: float | None = None
    feedback_kernels: Callable | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its hyperparameters."""
        return tuple(each.name for each in self.hparams)

    @property
    def sides(self) -> tuple[str, ...]:
        """The weights that it may train: see `trained_sides` for those of a network."""
        return ('forward', 'feedback') if self.feedback_loss or self.updates else ('forward',)


def infer(network: Network, rule: Rule, weights: Weights, context: Context) -> States:
    """The states (h_0, ..., h_L) of a batch, by the rule's own inference or the forward pass."""
    if rule.infer is None:
        return network.states(weights['forward'], context.batch['image'])
    images = {name: value for name, value in context.batch.items() if name != 'label'}
    return rule.infer(network, weights, context._replace(batch=images))


def inferring(rule: Rule, weights: Weights) -> Weights:
    """The weights that inference reads: the forward ones alone where it is the forward pass."""
    return weights if rule.infer else {'forward': weights['forward']}


def forward_updates(network: Network, forward: tuple, states: States, deltas: tuple) -> tuple:
    """The local update of every layer from its signal delta_l: a {'kernel', 'bias'} each."""
    return tuple(
        layer.update(*arguments)
        for layer, *arguments in zip(
            network.layers, forward, states[:-1], states[1:], deltas, strict=True
        )
    )


def correlations(network: Network, forward: tuple, inputs: Sequence, errors: Sequence) -> tuple:
    """The update of every layer from its input and the error of its potential."""
    return tuple(
        layer.correlation(*arguments)
        for layer, *arguments in zip(network.layers, forward, inputs, errors, strict=True)
    )


def no_feedback(key: jax.Array, network: Network, forward) -> tuple[tuple, tuple]:
    """`init` of a rule that needs no weights of its own."""
    return (), ()


def init_weights(key: jax.Array, network: Network, rule: Rule) -> Weights:
    """Forward, feedback and fixed weights from one key; every rule gets the same forward ones."""
    forward = network.init(jax.random.fold_in(key, 0))
    feedback, fixed = rule.init(jax.random.fold_in(key, 1), network, forward)
    weights = {'forward': forward, 'feedback': feedback, 'fixed': fixed}
    return rule.start(weights) if rule.start else weights


def trained_sides(network: Network, rule: Rule) -> tuple[str, ...]:
    """The weights that a rule trains: 'forward', and 'feedback' unless its `updates` have none."""
    if not rule.updates:
        return rule.sides
    weights = jax.eval_shape(lambda key: init_weights(key, network, rule), jax.random.key(0))
    return rule.sides if jax.tree.leaves(weights['feedback']) else ('forward',)
