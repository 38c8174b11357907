"""What a diagnostic looks at: a rule at work on one batch."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from bioprop.losses import Loss
from bioprop.networks import Network
from bioprop.objective import forward_updates
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import Context, Rule, Weights

Found = dict[str, jax.Array]


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
        self.states = network.states(weights['forward'], batch['image'])
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

    def length(self, xs: Sequence[jax.Array]) -> jax.Array:
        """The root of the mean over examples of the squared norm of their entries."""
        return jnp.sqrt(self.mean(sum(squares(x) for x in xs)))

    def spread(self, name: str, x: jax.Array) -> Found:
        """Mean and standard deviation over the examples of the whole batch; x is (examples,)."""
        mean = self.mean(x)
        variance = self.mean(jnp.square(x - mean))
        return {name: mean, f'{name}/spread': jnp.sqrt(variance)}

    def over_devices(self, tree):
        """The mean of what each device has of the arrays of a tree."""
        return tree if self._axis is None else jax.lax.pmean(tree, self._axis)


Arrays = Sequence[jax.Array]


def by_layer(arrays: dict[int, Arrays]) -> dict[str, Arrays]:
    """{l: arrays} as {'layer_l': arrays, ..., 'total': those of all layers}."""
    return {f'layer_{l}': found for l, found in arrays.items()} | {
        'total': [array for found in arrays.values() for array in found]
    }


def angle(us: Arrays, vs: Arrays) -> jax.Array:
    """In degrees, between the vectors that an example's entries of all us, and of all vs, make up.

    All are (examples, ...); gives (examples,). With a vector of length 0 it is 90. Kahan's formula,
    which is accurate near 0 where the arc cosine is not.
    """
    us, vs = (_scaled(arrays, _each_example(jnp.max, jnp.maximum)) for arrays in (us, vs))
    defined = (norm(us) > 0) & (norm(vs) > 0)
    us, vs = (_scaled(arrays, norm) for arrays in (us, vs))
    apart = norm([u - v for u, v in zip(us, vs, strict=True)])
    along = norm([u + v for u, v in zip(us, vs, strict=True)])
    return jnp.where(defined, jnp.rad2deg(2 * jnp.arctan2(apart, along)), 90)


def whole_angle(us: Arrays, vs: Arrays) -> jax.Array:
    """The angle between all us together and all vs together."""
    (found,) = angle([u[None] for u in us], [v[None] for v in vs])
    return found


def norm(xs: Arrays) -> jax.Array:
    """Of the vectors that an example's entries make up: (examples, ...) each -> (examples,)."""
    return jnp.sqrt(sum(squares(x) for x in xs))


def whole_norm(xs: Arrays) -> jax.Array:
    """Of all entries together."""
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in xs))


def squares(x: jax.Array) -> jax.Array:
    """||x||^2 of each example: (examples, ...) -> (examples,)."""
    return jnp.sum(jnp.square(x), axis=range(1, x.ndim))


def _each_example(largest: Callable, larger: Callable) -> Callable[[Arrays], jax.Array]:
    return lambda xs: functools.reduce(
        larger, [largest(jnp.abs(x), axis=range(1, x.ndim)) for x in xs]
    )


def _scaled(xs: Arrays, size: Callable[[Arrays], jax.Array]) -> list[jax.Array]:
    """The vectors divided by their sizes, where these are not 0."""
    sizes = size(xs)
    sizes = jnp.where(sizes > 0, sizes, 1)
    return [x / sizes.reshape(-1, *[1] * (x.ndim - 1)) for x in xs]
