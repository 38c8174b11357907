"""What a training step costs, from shapes alone: products of matrices, and bytes.

A layer is used in three ways: `linear`, its `transpose` and its kernel's `gradient`, each one
product of matrices for every place that has weights of its own. A rule is then a count of each.
"""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import jax

from bioprop.errors import UserError
from bioprop.layers import Layer, dense
from bioprop.layers.locally_connected import block_rows
from bioprop.networks import Network
from bioprop.rules import RULES

SIDES = ('forward', 'feedback')
WEIGHT = 4  # bytes of a weight, of its update and of its moments, whatever the precision
# (places, rows, inner, columns): at every place a product of (rows, inner) with (inner, columns).
Product = tuple[int, int, int, int]


class Uses(NamedTuple):
    """How often a step of a rule uses a layer in each way."""

    linear: int = 0
    transpose: int = 0
    gradient: int = 0


def uses(
    rule: str,
    network: Network,
    auxiliary: int = 0,
    sides: Collection[str] = SIDES,
) -> list[tuple[Layer, Uses]]:
    """The layers of the network, bottom first, then the rule's own, each with its uses in a step.

    sides are those that the step updates. The states are computed once. An inverse costs two
    transposes in the targets; f, g and the gradient of g in its loss. auxiliary counts AO-SDTP's
    extra outputs. Raises UserError for a rule of another module.
    """
    if rule not in RULES:
        raise UserError(f'the products of rule {rule!r} are not known, only {", ".join(RULES)}')
    top, inverted = len(network.layers), inverses(rule, network, auxiliary)
    forward, feedback = int('forward' in sides), int('feedback' in sides and bool(inverted))
    states = top if forward else feedback * len(inverted)
    chained = rule in ('bp', 'fa')

    def count(l):
        down = forward * (chained or (rule == 'dtp' and l == top)) * (l > 1)
        if inverted and 1 < l < top:
            return Uses((l <= states) + feedback, 2 * forward + feedback, forward + feedback)
        return Uses((l <= states) + feedback * (1 < l <= len(inverted) + 1), down, forward)

    found = [(layer, count(l)) for l, layer in enumerate(network.layers, start=1)]
    if rule == 'dfa':
        outputs = dense(network.out_shape[0])
        found += [(outputs(layer.out_shape), Uses(0, forward)) for layer in network.layers[:-1]]
    if rule in ('sdtp', 'ao_sdtp'):
        found.append((inverted[-1], Uses(0, 2 * forward + feedback, feedback)))
    if auxiliary:
        features = dense(auxiliary)(network.layers[-1].in_shape)
        found.append((features, Uses(forward + feedback)))
    return found


def inverses(rule: str, network: Network, auxiliary: int = 0) -> list[Layer]:
    """The layers whose transposes are a rule's inverses, from that of layer 2 up."""
    inner = list(network.layers[1:-1])
    if rule == 'dtp':
        return inner
    if rule in ('sdtp', 'ao_sdtp'):
        return [*inner, dense(network.out_shape[0] + auxiliary)(network.layers[-1].in_shape)]
    return []


def linear_product(layer: Layer, batch: int) -> Product:
    """The product that a layer is.

    A locally connected layer has its own matrix at every place; a convolution has one, over the
    rows of all places, and a dense layer one over the batch.
    """
    *places, columns = layer.bias_shape
    inner = math.prod(layer.kernel_shape) // math.prod(layer.bias_shape)
    rows = batch * math.prod(layer.out_shape) // math.prod(layer.bias_shape)
    return math.prod(places), rows, inner, columns


def products(
    rule: str, network: Network, batch: int, auxiliary: int = 0, sides: Collection[str] = SIDES
) -> tuple[list[Product], list[Product]]:
    """(signals, gradients): the products that a step of a rule cannot do without.

    Gradients are those of weights, which an optimiser consumes. Arguments are those of `uses`.
    """
    signals, gradients = [], []
    for layer, used in uses(rule, network, auxiliary, sides):
        places, rows, inner, columns = linear_product(layer, batch)
        signals += used.linear * [(places, rows, inner, columns)]
        signals += used.transpose * [(places, rows, columns, inner)]
        gradients += used.gradient * [(places, inner, rows, columns)]
    return signals, gradients


def flops(items: list[Product]) -> int:
    """Floating point operations of the products."""
    return sum(2 * math.prod(item) for item in items)


def tree_bytes(tree: Any) -> int:
    """Of the arrays of a tree, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Plan(NamedTuple):
    """What a device does in one step."""

    rule: str
    network: Network
    batch: int  # examples of the device
    auxiliary: int = 0  # AO-SDTP's extra outputs
    itemsize: int = 4  # bytes of an activation: 2 in bfloat16
    accumulate: int = 1  # microbatches of a step
    together: bool = False  # whether all updates must exist before one is applied


def step_flops(plan: Plan, sides: Collection[str]) -> int:
    """Floating point operations of the products of a step that updates these sides."""
    return sum(
        2 * sum(used) * math.prod(linear_product(layer, plan.batch))
        for layer, used in uses(plan.rule, plan.network, plan.auxiliary, sides)
    )


def traffic(plan: Plan, sides: Collection[str], state: Any) -> tuple[int, int]:
    """(bytes, bytes of patches) that a step moves to and from memory, at the least.

    Every product reads its two operands and writes its result once, and elementwise work rides on
    that; the optimiser reads weights, moments and updates, and writes the first two. The patches
    of locally connected layers, written and read, are counted apart: a cache may hold them.
    state is the TrainState, or its shapes.
    """
    total = patches = 0
    for layer, used in uses(plan.rule, plan.network, plan.auxiliary, sides):
        ends = plan.batch * (math.prod(layer.in_shape) + math.prod(layer.out_shape))
        kernel = plan.accumulate * math.prod(layer.kernel_shape)
        read = used.linear + used.transpose
        total += sum(used) * ends * plan.itemsize
        total += (read * plan.itemsize + used.gradient * WEIGHT) * kernel
        if is_local(layer):
            patches += 2 * sum(used) * plan.itemsize * patch_size(layer, plan.batch)
    for side in sides:
        weights = tree_bytes(state.weights[side])
        total += 2 * (weights + tree_bytes(state.optimizer[side])) + weights
        if plan.accumulate > 1:
            total += 2 * plan.accumulate * weights
        if plan.itemsize < WEIGHT:  # a copy in the type of the activations
            total += weights + weights * plan.itemsize // WEIGHT
    return total, patches


def is_local(layer: Layer) -> bool:
    """Whether each place has weights of its own."""
    return len(layer.bias_shape) > 1


def patch_size(layer: Layer, batch: int) -> int:
    """Elements of the patches that all places of a locally connected layer see."""
    places, rows, inner, _ = linear_product(layer, batch)
    return places * rows * inner


def temporaries(plan: Plan, sides: Collection[str], backend: str) -> dict[str, int]:
    """Bytes that exist at the peak of a step beside its state and batch, by what they are.

    Kept through the step: the states; a signal for each layer, where they are not used up on the
    way down; the noisy states of the inverses; and the updates of locally connected layers.
    `working` is the greatest need of a layer at work on each side: the patches of a block (or
    copies of a convolution's operands, or the update), and what goes in and out. backend is JAX's
    name for it: the size of a block depends on that.
    """
    batch = plan.batch // plan.accumulate
    inverted = inverses(plan.rule, plan.network, plan.auxiliary) if 'feedback' in sides else []
    layers = plan.network.layers if 'forward' in sides else ()
    chained = plan.rule in ('bp', 'fa')  # a signal is used up on its way down

    def size(shape):
        return plan.itemsize * batch * math.prod(shape)

    hidden = sum(size(layer.out_shape) for layer in layers)
    noisy = sum(size(layer.in_shape) for layer in inverted)

    def update(layer):
        return WEIGHT * math.prod(layer.kernel_shape)

    def working(layer, below):
        """below: whether something goes down through the layer while its update is made."""
        ends = size(layer.in_shape), size(layer.out_shape)
        if is_local(layer):
            need = plan.itemsize * _block_size(layer, batch, plan.itemsize, backend)
        else:
            copies = sum(ends) if len(layer.out_shape) > 1 else 0
            need = copies + (0 if plan.together else update(layer))
        return need + below * sum(ends)

    lasting = [update(each) for each in (*layers, *inverted) if plan.together or is_local(each)]
    return {
        'states': hidden or noisy,
        'signals': 0 if chained else hidden,
        'noisy states': noisy,
        'updates': sum(lasting) * (1 + (plan.accumulate > 1)),
        'working': max(
            (working(layer, chained and place > 0) for place, layer in enumerate(layers)), default=0
        )
        + max((working(layer, True) for layer in inverted), default=0),
    }


def _block_size(layer, batch, itemsize, backend):
    """Elements of the patches of one block of rows."""
    rows = layer.bias_shape[0]
    row = patch_size(layer, batch) // rows
    return row * block_rows(rows, row * itemsize, backend)
