"""Which operations of a traced program run as one, and which values are kept between them.

Elementwise work is fused into what reads it. Kept are the results of products, loops and
reductions, and what the first two take. Views share the memory of what they show.
"""

import itertools
from typing import NamedTuple

from bioprop.costs.products import PRODUCTS
from bioprop.costs.program import Operation, Program

VIEWS = ('reshape', 'squeeze', 'expand_dims', 'broadcast_in_dim', 'transpose', 'copy')
OF_ALL = {'dynamic_slice': 0, 'dynamic_update_slice': 1}  # of a whole array: the input that it is
REDUCTIONS = ('reduce_', 'arg', 'cum')
# First letters of the operations that are not fused, beside loops and choices.
ALONE = (*PRODUCTS, *REDUCTIONS, 'gather', 'scatter', 'sort', 'psum', 'random_')


class Unit(NamedTuple):
    """Operations that run as one, the kept values that they make, and those that they read."""

    operations: tuple[Operation, ...]
    makes: tuple[int, ...]
    reads: frozenset[int]


class Fused(NamedTuple):
    """A program in units, in an order in which they can run."""

    units: tuple[Unit, ...]
    bases: dict[int, int]  # of each value the one whose memory it is in


def fused(program: Program) -> Fused:
    """The units of a program. Averages over devices that follow one another are one."""
    bases = _bases(program)
    kept = _kept(program, bases)
    sources = {value: frozenset([value]) for value in program.inputs}
    units = []
    for together, each in itertools.groupby(program.operations, lambda each: each.name == 'psum'):
        for operations in [tuple(each)] if together else zip(each, strict=True):
            inputs = [value for operation in operations for value in operation.inputs]
            outputs = [value for operation in operations for value in operation.outputs]
            reads = frozenset().union(*(sources.get(value, ()) for value in inputs))
            makes = tuple(value for value in outputs if value in kept)
            sources |= {v: frozenset([v]) if v in makes else reads for v in outputs}
            if makes:
                units.append(Unit(operations, makes, reads))
    return Fused(tuple(units), bases)


def waits(units: tuple[Unit, ...]) -> list[set[int]]:
    """For each unit the numbers of those that make what it reads."""
    maker = {value: number for number, unit in enumerate(units) for value in unit.makes}
    return [{maker[value] for value in unit.reads if value in maker} for unit in units]


def _bases(program):
    bases = {value: value for value in program.shapes}
    convolved = {
        value
        for operation in program.operations
        if operation.name == 'conv_general_dilated'
        for value in operation.inputs
    }
    for operation in program.operations:
        first, *_ = operation.outputs
        laid_out = operation.name == 'transpose' and first in convolved
        source = _source(operation, program.shapes)
        if source is not None and not laid_out:
            bases[first] = bases[source]
    return bases


def _source(operation, shapes):
    """The input that an operation gives a view of, or None."""
    if operation.name in VIEWS:
        return operation.inputs[0]
    if operation.name in OF_ALL:
        source = operation.inputs[OF_ALL[operation.name]]
        return source if shapes[source].shape == shapes[operation.outputs[0]].shape else None
    return None


def _kept(program, bases):
    kept = {bases[value] for value in program.outputs}
    for operation in program.operations:
        if operation.bodies or operation.name.startswith(ALONE):
            kept.update(operation.outputs)
            if not operation.name.startswith(REDUCTIONS):
                kept.update(bases[value] for value in operation.inputs)
    return kept
