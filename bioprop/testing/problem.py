"""Small random problems for a rule: nets, weights, a batch, hyperparameters."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioprop.layers import convolution, dense, locally_connected
from bioprop.losses import Loss, softmax_cross_entropy
from bioprop.networks import Network, network
from bioprop.objective import objective
from bioprop.rules import Context, Rule, infer, init_weights
from bioprop.rules.base import States, Weights
from bioprop.testing.faults import Fault, attempt, shaken

BATCH, OUTPUTS = 8, 4
TOP = dense(OUTPUTS, 'linear')
# In the dense net the kernels above the lowest are square: where one stands in the place of its
# transpose, shapes do not tell.
NETS = {
    'dense': network([*[dense(OUTPUTS)] * 3, TOP], (3, 2)),
    'local': network([locally_connected(3, 2, 2), convolution(2, 2), TOP], (5, 4, 2)),
}
SHALLOW = network([dense(OUTPUTS), TOP], (3,))  # for identities that deeper nets do not have


@jax.tree_util.register_pytree_node_class
class Declared(dict):
    """Hyperparameters by name; a name that the rule has not declared is a Fault."""

    def __missing__(self, name):
        raise Fault(f'the rule reads the hyperparameter {name!r}: add it to Rule.hparams')

    def get(self, name: str, default: Any = None) -> Any:
        """That of a declared name: one that is not would be left out of every run."""
        return self[name]

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """(values, names)."""
        return tuple(self.values()), tuple(self)

    @classmethod
    def tree_unflatten(cls, names: tuple, values: tuple) -> 'Declared':
        """What `tree_flatten` took apart."""
        return cls(zip(names, values, strict=True))


class Problem(NamedTuple):
    """What a rule is given. states are those that it infers from batch['image']."""

    network: Network
    rule: Rule
    loss: Loss
    weights: Weights
    states: States
    batch: dict[str, jax.Array]
    key: jax.Array
    hparams: dict[str, jax.Array]

    @property
    def arguments(self) -> tuple:
        """All that a program traces."""
        return self.weights, self.states, self.batch, self.key, self.hparams

    @property
    def look(self) -> Callable:
        """What the rule says of the arguments, not compiled; see `_look`."""
        return functools.partial(_look, self.network, self.rule, self.loss)

    def run(self) -> dict[str, Any]:
        """What the rule says, compiled."""
        return _compiled(self.network, self.rule, self.loss)(*self.arguments)

    def at(self, places: np.ndarray) -> 'Problem':
        """The examples at these places, with their states and their index."""
        states, batch = jax.tree.map(lambda x: x[places], (self.states, self.batch))
        return self._replace(states=states, batch=batch)

    def with_layer(self, side: str, l: int, params: Any) -> 'Problem':
        """Other weights of one side of layer l alone; the states stay."""
        layers = list(self.weights[side])
        layers[l - 1] = params
        return self._replace(weights=self.weights | {side: tuple(layers)})


def make(rule: Rule, network: Network, given: dict[str, float], seed: int) -> Problem:
    """A random problem, in the type that JAX makes arrays of.

    Forward and feedback weights lie about their initial values, biases too. Hyperparameters that
    are not given lie in [0.2, 1).
    """
    random = np.random.default_rng(seed)
    key = jax.random.key(seed)
    weights = attempt('init', init_weights, key, network, rule)
    weights = weights | {side: shaken(weights[side], random) for side in ('forward', 'feedback')}
    batch = {
        'image': jnp.asarray(random.normal(size=(BATCH, *network.in_shape)), float),
        'label': jnp.asarray(random.integers(OUTPUTS, size=BATCH), jnp.int32),
        'index': jnp.arange(BATCH),
    }
    hparams = {name: given.get(name, random.uniform(0.2, 1)) for name in rule.names}
    hparams = Declared({name: jnp.asarray(value, float) for name, value in hparams.items()})
    states = attempt('infer', states_of(network, rule), weights, batch, key, hparams)
    return Problem(network, rule, softmax_cross_entropy, weights, states, batch, key, hparams)


def _look(network, rule, loss, weights, states, batch, key, hparams):
    """{'update', and 'delta', 'displacement' and 'states' where the rule gives them}.

    The update comes from the objective, which computes the states anew; the others take them.
    """
    context, f = Context(loss, batch, key, hparams), objective(network, rule, loss)
    trained = {side: weights[side] for side in ('forward', 'feedback')}
    found = {'update': jax.grad(lambda part: f(weights | part, batch, key, hparams)[0])(trained)}
    for name, function in (('delta', rule.signals), ('displacement', rule.displacements)):
        if function:
            found[name] = tuple(function(network, weights, states, context))
    if rule.infer:
        found['states'] = tuple(infer(network, rule, weights, context))
    return found


@functools.lru_cache(maxsize=32)
def _compiled(network, rule, loss):
    return jax.jit(functools.partial(_look, network, rule, loss))


@functools.lru_cache(maxsize=32)
def states_of(network: Network, rule: Rule) -> Callable:
    """(weights, batch, key, hparams) -> states."""

    def states(weights, batch, key, hparams):
        context = Context(softmax_cross_entropy, batch, key, hparams)
        return infer(network, rule, weights, context)

    return jax.jit(states)


@functools.lru_cache(maxsize=32)
def layers_alone(network: Network) -> Callable:
    """(forward, states, deltas) -> the VJP of each layer alone at its delta, over the batch."""

    def layer_alone(layer, params, x, delta):
        _, pullback = jax.vjp(lambda params: layer.apply(params, x), params)
        return pullback(delta / len(x))[0]

    def updates(forward, states, deltas):
        return tuple(map(layer_alone, network.layers, forward, states[:-1], deltas))

    return jax.jit(updates)


@functools.lru_cache(maxsize=32)
def plain_gradient(network: Network, loss: Loss) -> Callable:
    """(forward, batch) -> jax.grad of the mean loss, with nothing of a rule in it."""

    def plain(forward, batch):
        logits = network.states(forward, batch['image'])[-1]
        return jnp.mean(loss.value(logits, batch['label']))

    return jax.jit(jax.grad(plain))
