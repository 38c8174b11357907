"""What a diagnostic looks at: a rule at work on one batch."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from bioprop.diagnostics.comparison import Comparison
from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Context, Rule, Weights, forward_updates, infer

Found = dict[str, jax.Array]


def named(name: str, places: Sequence[str], x: jax.Array) -> Found:
    """'name/place' for each place; x is (places,)."""
    return {f'{name}/{place}': x[row] for row, place in enumerate(places)}


class Probe:
    """A network, a rule, weights and a batch, and what all diagnostics share of them.

    With an axis_name the batch is one device's share.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule,
        loss: Loss,
        weights: Weights,
        batch: dict[str, jax.Array],
        key: jax.Array,
        hparams: dict[str, jax.Array],
        axis_name: str | None = None,
    ):
        self.network, self.rule, self.weights = network, rule, weights
        self.context = Context(loss, batch, key, hparams)
        self.states = infer(network, rule, weights, self.context)
        self._axis = axis_name

    @property
    def hidden(self) -> range:
        """The numbers of the hidden layers, 1..L-1."""
        return range(1, len(self.network.layers))

    @functools.cached_property
    def gradients(self) -> tuple[jax.Array, ...]:
        """dL/dh_1, ..., dL/dh_L, per example."""
        return bp().signals(self.network, self.weights, self.states, self.context)

    @functools.cached_property
    def signals(self) -> tuple[jax.Array, ...] | None:
        """delta_1, ..., delta_L; None for a rule that has updates alone."""
        if self.rule.signals is None:
            return None
        return self.rule.signals(self.network, self.weights, self.states, self.context)

    @functools.cached_property
    def displacements(self) -> tuple[jax.Array, ...] | None:
        """h_l - t_l of the hidden layers; a rule without targets has h_l - delta_l for them."""
        if self.rule.displacements:
            return self.rule.displacements(self.network, self.weights, self.states, self.context)
        return self.signals and self.signals[:-1]

    @functools.cached_property
    def gradient_updates(self) -> tuple:
        """The gradient of the mean loss: a {'kernel', 'bias'} a layer."""
        return self.over_devices(
            forward_updates(self.network, self.weights['forward'], self.states, self.gradients)
        )

    @functools.cached_property
    def updates(self) -> tuple:
        """The rule's updates of the forward weights."""
        if self.rule.updates:
            arguments = (self.network, self.weights, self.states, self.context)
            return self.over_devices(self.rule.updates(*arguments)['forward'])
        return self.over_devices(
            forward_updates(self.network, self.weights['forward'], self.states, self.signals)
        )

    def mean(self, x: jax.Array) -> jax.Array:
        """Over the examples of the whole batch: (examples, ...) -> (...)."""
        return self.over_devices(jnp.mean(x, axis=0))

    def whole(self, x: jax.Array) -> jax.Array:
        """What all devices have of (examples, ...), one below the other."""
        return x if self._axis is None else jax.lax.all_gather(x, self._axis, tiled=True)

    def ratio(self, compared: Comparison) -> jax.Array:
        """Of the root mean square lengths of u and v, over the examples of the whole batch.

        The comparisons are (places, examples); returns (places,).
        """
        u, v = (self.mean(jnp.square(length).T) for length in (compared.u, compared.v))
        return jnp.sqrt(u / v)

    def spread(self, name: str, places: Sequence[str], x: jax.Array) -> Found:
        """Mean and standard deviation over the examples of the whole batch.

        'name/place' and 'name/place/spread' for each place; x is (places, examples).
        """
        mean = self.mean(x.T)
        variance = self.mean(jnp.square(x.T - mean[None]))
        spreads = [f'{place}/spread' for place in places]
        return named(name, places, mean) | named(name, spreads, jnp.sqrt(variance))

    def over_devices(self, tree):
        """The mean of what each device has of the arrays of a tree."""
        return tree if self._axis is None else jax.lax.pmean(tree, self._axis)
