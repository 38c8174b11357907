"""What a training step costs: products, bytes to and from memory, and bytes that it holds.

All of it is counted in the program that JAX traces of the step, of whatever rule; nothing is
compiled.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bioprop.costs.memory import copied, peak
from bioprop.costs.products import Product, flops, products, unbounded, works
from bioprop.costs.program import Program, size, traced
from bioprop.layers import Layer
from bioprop.layers.locally_connected import blocks_for
from bioprop.training.images import Images, numbered
from bioprop.training.learner import Hparams, Learner, TrainState, init_state
from bioprop.training.parallel import AXIS
from bioprop.training.precision import WEIGHTS
from bioprop.training.step import train_step

SIDES = ('forward', 'feedback')


class Step(NamedTuple):
    """A step of training as one device runs it, in shapes alone."""

    learner: Learner
    turns: tuple[tuple[str, ...], ...]  # as `training.step.train_step` takes them
    batch: int  # examples of the device
    state: TrainState
    program: Program

    @property
    def sides(self) -> tuple[str, ...]:
        """The weights that it updates."""
        return tuple(side for side in SIDES if any(side in turn for turn in self.turns))

    @property
    def trained(self) -> dict[str, Any]:
        """Shapes of the weights that it updates."""
        return {side: self.state.weights[side] for side in self.sides}

    @property
    def products(self) -> list[Product]:
        """All products of matrices."""
        return products(self.program)

    @property
    def flops(self) -> int:
        """Floating point operations of the products."""
        return flops(self.products)

    @property
    def unbounded(self) -> bool:
        """Whether some products are in a loop of unknown length, of which one round counts."""
        return unbounded(self.program)


def trace_step(
    learner: Learner,
    turns: tuple[tuple[str, ...], ...],
    batch: int,
    hparams: Hparams,
    devices: int = 1,
    backend: str | None = None,
) -> Step:
    """The step of a learner on `batch` examples of each of so many devices.

    hparams are values or shapes. backend is JAX's name of what it is to run on, on which the
    blocks of locally connected layers depend; None is the one that there is.
    """
    state = jax.eval_shape(lambda values: init_state(learner, jax.random.key(0), values), hparams)
    axis = AXIS if devices > 1 else None
    with blocks_for(backend):
        program = traced(
            lambda state, batch, hparams: train_step(learner, turns, state, batch, hparams, axis),
            state, batch_shapes(learner, batch), hparams,
            axes=((axis, devices),) if axis else (),
        )  # fmt: skip
    return Step(learner, turns, batch, state, program)


def batch_shapes(learner: Learner, batch: int) -> dict[str, Any]:
    """Of a minibatch as a step takes it."""
    channels = jax.ShapeDtypeStruct(learner.network.in_shape[-1:], jnp.result_type(float))
    pixels = jax.ShapeDtypeStruct((batch, *learner.network.in_shape), jnp.uint8)
    label = jax.ShapeDtypeStruct((batch,), jnp.int32)
    images = Images(pixels, None if learner.loss.reconstructs else label, channels, channels)
    return jax.eval_shape(lambda images: numbered(images, None), images)


def multiply_adds(layer: Layer) -> int:
    """Of the products that a layer is, for one example."""
    shapes = layer.kernel_shape, (1, *layer.in_shape)
    program = traced(layer.linear, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    return flops(products(program)) // 2


def tree_bytes(tree: Any) -> int:
    """Of the arrays of a tree, or of their shapes."""
    return sum(map(size, jax.tree.leaves(tree)))


def traffic(step: Step) -> tuple[int, int]:
    """(bytes, bytes of patches) that a step moves to and from memory, at the least.

    Every product reads its two operands and writes its result once, and elementwise work rides on
    that; the optimiser reads weights, moments and updates, and writes the first two. The patches
    of locally connected layers, written and read, are counted apart: a cache may hold them.
    """
    done = works(step.program)
    updates = [_update_traffic(step, side) for side in step.sides]
    return sum(work.moved for work in done) + sum(updates), sum(work.patches for work in done)


def _update_traffic(step: Step, side: str) -> int:
    weights, parts = tree_bytes(step.state.weights[side]), step.learner.accumulate
    total = 3 * weights + 2 * tree_bytes(step.state.optimizer[side])
    if parts > 1:
        total += 2 * parts * weights
    if step.learner.precision != WEIGHTS:  # a copy in the type of the activations
        kinds = step.learner.precision, WEIGHTS
        half, whole = (jnp.dtype(kind).itemsize for kind in kinds)
        total += weights + weights * half // whole
    return total


def temporaries(step: Step) -> dict[str, int]:
    """Bytes that exist at the peak of a step beside its state and batch, by what they are.

    `updates` have the shape of a weight that is trained, in some order of its axes, `activations`
    are what else is kept, `working` is what the operation at work takes beside that, and `copies`
    are of weights that are still read when they change.
    """
    held, shapes = peak(step.program), step.program.shapes
    of_weights = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(step.trained)}
    updates = sum(
        count
        for value, count in held.values.items()
        if tuple(sorted(shapes[value].shape)) in of_weights
    )
    return {
        'activations': sum(held.values.values()) - updates,
        'updates': updates,
        'copies': copied(step.program, len(jax.tree.leaves(step.state))),
        'working': held.working,
    }
