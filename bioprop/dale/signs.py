"""Any rule held to Dale's law: signs of weights that are kept for good.

Every input unit of a dense layer, and every input channel of a local one, is excitatory or
inhibitory, in the forward kernels and in feedback of their shape.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bioprop.layers import Layer
from bioprop.networks import Network
from bioprop.rules.base import Rule, Weights

NON_NEGATIVE = ('relu', 'sigmoid', 'hard_sigmoid', 'lif')


class Constraint(NamedTuple):
    """What keeps the signs of a network's kernels."""

    signs: tuple[jax.Array, ...]  # of each layer's kernel, 1 long where they do not differ
    shapes: tuple[tuple[int, ...], ...]  # of the kernels

    def start(self, weights: Weights) -> Weights:
        """The weights with their signs, as large as they were drawn on the whole.

        Inhibition is as much stronger as it is rarer in a layer, so that the two balance (Cornford
        et al. 2021).
        """

        def signed(kernel, signs):
            share = jnp.mean(signs > 0, dtype=kernel.dtype)
            ratio = jnp.where((share > 0) & (share < 1), share / (1 - share), 1.0)
            excitatory = jax.lax.rsqrt(share + (1 - share) * ratio**2)
            size = jnp.where(signs > 0, excitatory, ratio * excitatory).astype(kernel.dtype)
            return size * signs.astype(kernel.dtype) * jnp.abs(kernel)

        return {side: self._kernels(signed, tree) for side, tree in weights.items()}

    def transformation(self) -> optax.GradientTransformation:
        """Steps that end where the signs are kept: a weight that would cross 0 is stopped there."""

        def kept(step, signs, kernel):
            signs = signs.astype(kernel.dtype)
            return signs * jax.nn.relu(signs * (kernel + step)) - kernel

        return optax.stateless(lambda steps, params: self._kernels(kept, steps, params))

    def _kernels(self, change, tree: Any, *others: Any) -> Any:
        """change(leaf, signs, *others) of every leaf that has the shape of its layer's kernel."""

        def one(path, leaf, *more):
            l = getattr(path[0], 'idx', None) if path else None  # feedback may be any tree
            if l is None or leaf.shape != self.shapes[l]:
                return leaf
            return change(leaf, self.signs[l], *more)

        return jax.tree.map_with_path(one, tree, *others)


def constrained(rule: Rule, network: Network, share: float) -> Rule:
    """The rule on a net that keeps its signs, a share of whose inputs are excitatory."""
    law = constraint(network, share)

    def start(weights):
        return law.start(rule.start(weights) if rule.start else weights)

    kept = [(side, lambda hparams: law.transformation()) for side in ('forward', 'feedback')]
    return rule._replace(start=start, transforms=(*rule.transforms, *kept))


def constraint(network: Network, share: float) -> Constraint:
    """Of a network whose inputs to every layer are excitatory by that share, spread evenly."""
    signs = tuple(signs_of(layer, share) for layer in network.layers)
    return Constraint(signs, tuple(layer.kernel_shape for layer in network.layers))


def signs_of(layer: Layer, share: float) -> jax.Array:
    """1 and -1 for the entries of a kernel, by the input that each is multiplied with."""
    units = math.prod(layer.in_shape)
    dense = layer.kernel_shape[:-1] == (units,)
    count = units if dense else layer.in_shape[-1]
    steps = np.floor(np.arange(count + 1) * share + 0.5)  # a lone channel excites
    kinds = np.where(np.diff(steps) > 0, 1.0, -1.0)
    kinds = kinds.reshape(layer.in_shape) if dense else np.broadcast_to(kinds, layer.in_shape)
    inputs = jnp.asarray(kinds, jnp.float32)
    none = jnp.zeros(layer.kernel_shape, inputs.dtype)
    _, pullback = jax.vjp(lambda kernel: layer.linear(kernel, inputs[None]), none)
    (met,) = pullback(jnp.ones((1, *layer.out_shape), inputs.dtype))
    return jnp.where(met[..., :1] < 0, -1, 1)  # what meets no input has any sign
