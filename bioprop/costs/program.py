"""A traced program as values that follow from one another, each of them computed once.

Calls are opened, what no result depends on is left out, and the same operation on the same values
is one, as in a compiled program. Nothing is compiled.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal
from jax.interpreters import partial_eval

CLOSED = ('scan', 'while', 'cond', 'shard_map', 'pallas_call')  # what is not merely a call


class Operation(NamedTuple):
    """One equation of the program."""

    name: str  # of its JAX primitive
    params: dict[str, Any]
    inputs: tuple[int, ...]  # values, by number
    outputs: tuple[int, ...]
    bodies: tuple['Program', ...]  # of a loop or a choice
    call: int | None  # the innermost of `Program.calls` that it is part of
    acts: bool  # beside its outputs: on memory that others see, or outside the program


class Program(NamedTuple):
    """Operations in an order in which they can run."""

    inputs: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, Any]  # shape and dtype of each value
    calls: dict[int, tuple[int, ...]]  # arguments and results of each jax.custom_vjp
    key: tuple  # equal for programs that do the same


def traced(function: Callable, *arguments: Any, axes: tuple = ()) -> Program:
    """The program of a function of arrays, or of their shapes.

    axes are pairs (name, size) that it may average over. Its inputs and outputs are the leaves of
    the arguments and of the results.
    """
    closed = jax.make_jaxpr(function, axis_env=axes)(*arguments)
    outputs = [True] * len(closed.jaxpr.outvars)
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, outputs, instantiate=True)
    return _program(jaxpr, closed.consts)


def size(shape: Any) -> int:
    """Bytes of a value of that shape and dtype; 0 for what is no array."""
    return shape.size * shape.dtype.itemsize if hasattr(shape, 'size') else 0


def repeats(operation: Operation) -> int:
    """How often an operation runs its bodies; once where that is not known before it runs."""
    if operation.name == 'pallas_call':
        return int(np.prod(operation.params['grid_mapping'].grid))
    return operation.params.get('length', 1) if operation.name == 'scan' else 1


def _program(jaxpr, consts):
    found = _Values()
    inputs = tuple(found.number(('input', i), var.aval) for i, var in enumerate(jaxpr.invars))
    outputs = found.run(jaxpr, consts, inputs)
    operations = tuple(_needed(found.operations, outputs))
    key = tuple(found.numbers), outputs
    return Program(inputs, operations, outputs, found.shapes, found.calls, key)


def _needed(operations, outputs):
    needed, kept = set(outputs), []
    for operation in reversed(operations):
        if operation.acts or needed.intersection(operation.outputs):
            kept.append(operation)
            needed.update(operation.inputs)
    return reversed(kept)


class _Values:
    """Values by number: the same operation on the same values has the same."""

    def __init__(self):
        self.numbers, self.shapes, self.calls, self.operations = {}, {}, {}, []

    def number(self, key, shape):
        found = self.numbers.setdefault(key, len(self.numbers))
        self.shapes[found] = shape
        return found

    def run(self, jaxpr, consts, inputs, call=None):
        """The values of the results."""
        first = [self._constant(const) for const in consts]
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*first, *inputs), strict=True))

        def read(atom):
            return self._literal(atom) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(map(read, equation.invars))
            same = equation.primitive.name == 'stop_gradient'
            outputs = inputs if same else self._results(equation, inputs, call)
            known.update(zip(equation.outvars, outputs, strict=True))
        return tuple(map(read, jaxpr.outvars))

    def _constant(self, const):
        is_key = jax.dtypes.issubdtype(const.dtype, jax.dtypes.extended)
        value = id(const) if is_key else np.asarray(const).tobytes()
        return self.number(('constant', str(jax.typeof(const)), value), jax.typeof(const))

    def _literal(self, atom):
        return self.number(('literal', str(atom.aval), repr(atom.val)), atom.aval)

    def _results(self, equation, inputs, call):
        inside = _inside(equation.params)
        if _is_call(equation, inside):
            return self._opened(equation, inside[0], inputs, call)
        name, params, acts = equation.primitive.name, equation.params, bool(equation.effects)
        bodies, known = tuple(_program(*body) for body in inside), len(self.numbers)
        # What acts is never the same as what came before it.
        key = name, inputs, _settings(params), tuple(body.key for body in bodies), acts and known
        outputs = tuple(self.number((key, i), v.aval) for i, v in enumerate(equation.outvars))
        if acts or len(self.numbers) > known:
            self.operations.append(Operation(name, params, inputs, outputs, bodies, call, acts))
        return outputs

    def _opened(self, equation, inside, inputs, call):
        if equation.primitive.name != 'custom_vjp_call':
            return self.run(*inside, inputs, call)
        call = len(self.calls)
        self.calls[call] = ()
        outputs = self.run(*inside, inputs, call)
        self.calls[call] = (*inputs[equation.params['num_consts'] :], *outputs)
        return outputs


def _inside(params):
    """(jaxpr, constants) of each program among the parameters of an equation."""
    each = [value if isinstance(value, tuple | list) else (value,) for value in params.values()]
    found = [value for values in each for value in values if hasattr(value, 'eqns')]
    return [(getattr(value, 'jaxpr', value), getattr(value, 'consts', ())) for value in found]


def _is_call(equation, inside):
    if len(inside) != 1 or equation.primitive.name in CLOSED:
        return False
    return len(inside[0][0].invars) == len(equation.invars)


def _settings(params):
    return tuple((name, str(value)) for name, value in params.items() if not _inside({'': value}))
