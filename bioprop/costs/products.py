"""The products of matrices of a traced program, and the bytes that they move."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bioprop.costs.program import Operation, Program, repeats, size

# (places, rows, inner, columns): at every place a product of (rows, inner) with (inner, columns).
Product = tuple[int, int, int, int]


class Work(NamedTuple):
    """A product, and what it reads and writes."""

    product: Product
    operands: tuple[tuple[int, int], ...]  # (elements, bytes) of both, and of the result
    moved: int  # bytes, from and to memory
    patches: int = 0  # bytes of what is laid out for it alone, written and read


def products(program: Program) -> list[Product]:
    """All products of matrices that a run of the program does."""
    return [work.product for work in works(program)]


def flops(items: Sequence[Product]) -> int:
    """Floating point operations of the products."""
    return sum(2 * math.prod(item) for item in items)


def works(program: Program) -> list[Work]:
    """All products of a run, those of a loop as often as it runs, with their bytes.

    Of a choice the branch with most operations counts, and a loop of unknown length once. A
    product that is done in blocks within a `jax.custom_vjp` is one. It then reads the arguments
    and writes the result of that; where the blocks' operands are larger, they are patches.
    """
    groups = {}
    for operation in program.operations:
        place = operation.outputs if operation.call is None else operation.call
        groups.setdefault(place, []).extend(_works(operation, program))
    return [
        work
        for place, parts in groups.items()
        for work in _joined(parts, [program.shapes[v] for v in program.calls.get(place, ())])
    ]


def unbounded(program: Program) -> bool:
    """Whether a loop of unknown length does products."""
    return any(
        unbounded(body) or (operation.name == 'while' and bool(works(body)))
        for operation in program.operations
        for body in operation.bodies
    )


def _works(operation: Operation, program: Program) -> list[Work]:
    if operation.name in PRODUCTS:
        shapes = [program.shapes[v] for v in (*operation.inputs, *operation.outputs)]
        operands = tuple((shape.size, size(shape)) for shape in shapes)
        product = PRODUCTS[operation.name](operation.params, *shapes)
        return [Work(product, operands, sum(map(size, shapes)))]
    each = [works(body) for body in operation.bodies]
    if operation.name == 'cond':
        each = [max(each, key=lambda branch: flops([work.product for work in branch]))]
    return [work for body in each for work in body] * repeats(operation)


def _joined(parts: list[Work], ends: list[Any]) -> list[Work]:
    """Blocks of one product as that product; ends are arguments and results of what does them."""
    if not parts or not ends:
        return parts
    places, *kinds = zip(*(part.product for part in parts), strict=True)
    operands = zip(*(part.operands for part in parts), strict=True)
    totals = [tuple(map(sum, zip(*each, strict=True))) for each in operands]
    patches = Counter(count for count, _ in totals) - Counter(end.size for end in ends)
    if patches.total() > 1 or any(len(set(kind)) > 1 for kind in kinds):
        return parts
    product = (sum(places), *(kind[0] for kind in kinds))
    laid_out = sum(dict(totals)[count] for count in patches)
    return [Work(product, tuple(totals), sum(map(size, ends)), 2 * laid_out)]


def _of_dot(params, x, y, _):
    (contracted, _), (shared, _) = params['dimension_numbers']
    inner, places = (math.prod(x.shape[axis] for axis in axes) for axes in (contracted, shared))
    rows, columns = (of.size // max(1, places * inner) for of in (x, y))
    return places, rows, inner, columns


def _of_convolution(params, x, kernel, out):
    """The smallest product that does it: a stride or a dilation leaves zeros out of some.

    A tap meets an input at a place, and two of these three say which the other is.
    """
    numbers = params['dimension_numbers']
    groups = params['feature_group_count'] * params['batch_group_count']
    batch, features = x.shape[numbers.lhs_spec[0]], kernel.shape[numbers.rhs_spec[0]] // groups
    batch, channels = batch // params['batch_group_count'], kernel.shape[numbers.rhs_spec[1]]
    specs = (x, numbers.lhs_spec), (kernel, numbers.rhs_spec), (out, numbers.out_spec)
    inputs, taps, places = (math.prod(of.shape[axis] for axis in spec[2:]) for of, spec in specs)
    return min(
        (groups, batch * places, taps * channels, features),
        (groups, batch * inputs, channels, taps * features),
        (groups, batch, inputs * channels, places * features),
        key=math.prod,
    )


PRODUCTS = {'dot_general': _of_dot, 'conv_general_dilated': _of_convolution}
