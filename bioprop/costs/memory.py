"""What a traced program holds at its peak, in the way in which XLA plans for a CPU.

A unit runs as soon as it can, the one first that first could, and a value lives until it is read
for the last time.
"""

from collections import Counter, defaultdict, deque
from typing import NamedTuple

from bioprop.costs.fusion import REDUCTIONS, Fused, Unit, fused, waits
from bioprop.costs.products import PRODUCTS
from bioprop.costs.program import Operation, Program, size

ANEW = (*PRODUCTS, *REDUCTIONS, 'gather', 'sort', 'random_')  # never in place of what they read


class Held(NamedTuple):
    """Bytes at one moment."""

    values: dict[int, int]  # of each value that is kept
    working: int  # of the unit that runs, beside them

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.values.values()) + self.working


def peak(program: Program) -> Held:
    """The moment at which a run holds most, beside its inputs and outputs."""
    parts = fused(program)
    units = _ordered(parts.units)
    born, last = _lives(units, program, parts)
    outside = {parts.bases[value] for value in program.outputs}
    sizes = {value: size(program.shapes[value]) for value in born if value not in outside}

    def held(now):
        values = {v: n for v, n in sizes.items() if born[v] <= now <= last[v]}
        made = [v for v in units[now].makes if v in values and born[v] == now]
        dying = [v for v in units[now].reads if v in values and last[v] == now]
        for value in _overwritten(units[now], made, dying, sizes):
            del values[value]
        return Held(values, _working(units[now], program))

    return max(map(held, range(len(units))), key=lambda held: held.total, default=Held({}, 0))


def copied(program: Program, donated: int) -> int:
    """Bytes of the copies of inputs that are written over before all have read them.

    The first `donated` inputs give their places to the first outputs; one is copied where a unit
    reads it that its new value does not wait for. Each copy takes the place of the one before it,
    so that the largest stands for all.
    """
    parts = fused(program)
    waiting, readers = waits(parts.units), defaultdict(set)
    maker = {value: number for number, unit in enumerate(parts.units) for value in unit.makes}
    for number, unit in enumerate(parts.units):
        for value in unit.reads:
            readers[value].add(number)
    pairs = zip(program.inputs[:donated], program.outputs, strict=False)
    sizes = [
        size(program.shapes[old])
        for old, new in ((old, parts.bases[new]) for old, new in pairs)
        if new in maker and readers[old] - _before(maker[new], waiting)
    ]
    return max(sizes, default=0)


def _before(unit: int, waiting: list[set[int]]) -> set[int]:
    """The numbers of all units that run before it in any order, and its own."""
    found, left = {unit}, [unit]
    while left:
        new = waiting[left.pop()] - found
        found |= new
        left.extend(new)
    return found


def _ordered(units: tuple[Unit, ...]) -> list[Unit]:
    """The units in the order in which they become possible."""
    followers, missing = defaultdict(list), []
    for number, others in enumerate(waits(units)):
        missing.append(len(others))
        for other in others:
            followers[other].append(number)
    ready, found = deque(number for number, count in enumerate(missing) if not count), []
    while ready:
        found.append(ready.popleft())
        for other in followers[found[-1]]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return [units[number] for number in found]


def _lives(units: list[Unit], program: Program, parts: Fused) -> tuple[dict, dict]:
    """({value: first moment}, {value: last moment}) of what the units make."""
    ready = {value for unit in units for value in unit.makes}.union(program.inputs)
    born, last = {}, {}
    for now, unit in enumerate(units):
        early = {
            value
            for operation in unit.operations
            for value in _begun(operation, program, parts, ready)
        }
        born |= {value: 0 if value in early else now for value in unit.makes}
        last |= {value: now for value in unit.makes}
        last |= {value: now for value in unit.reads if value in born}
    return born, last


def _begun(loop: Operation, program: Program, parts: Fused, made: set[int]) -> list[int]:
    """Results that a loop fills in from a constant: they are there from the first moment on."""
    if not loop.bodies:
        return []
    constants = [value for value in loop.inputs if parts.bases[value] not in made]
    starts = {str(program.shapes[value]) for value in constants}
    return [value for value in loop.outputs if str(program.shapes[value]) in starts]


def _working(unit: Unit, program: Program) -> int:
    """Bytes within an operation: a loop's own, copies for a convolution, the state of a draw."""
    first, *_ = unit.operations
    if first.bodies:
        return max(peak(body).total for body in first.bodies)
    if first.name == 'conv_general_dilated':
        return size(program.shapes[first.inputs[0]]) + size(program.shapes[first.outputs[0]])
    return size(program.shapes[first.outputs[0]]) if first.name == 'random_bits' else 0


def _overwritten(unit: Unit, made: list[int], dying: list[int], sizes: dict[int, int]) -> list[int]:
    """Values, read for the last time, in whose place a result of the same size is written."""
    if unit.operations[0].name.startswith(ANEW):
        return []
    left = Counter(sizes[value] for value in made)
    found = []
    for value in sorted(dying):
        if left[sizes[value]]:
            left[sizes[value]] -= 1
            found.append(value)
    return found
