"""Plants faults in the package, one at a time, and names those that no test notices.

python tests/mutants.py [FILE ...] [--most N] [--list]

FILE is one of GUARDS, by default all of them. Each change is made in a copy of the tree, and the
tests that guard its file run there until the first of them fails. Changes that change nothing are
in tests/mutants_equivalent.txt: a line each, 'FILE: CHANGE :: why'. --most takes a sample.
Exits with 1 if a change went unnoticed.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).with_name('mutants_equivalent.txt')
SECONDS = 900  # after which a change counts as noticed: it never ends
LOCAL = ('test_local', 'test_linen', 'test_networks', 'test_testing')
RULES = ('test_rules', 'test_objective', 'test_step', 'test_testing')
# The tests that guard a file, those that notice most first.
GUARDS = {
    'bioprop/objective.py': ('test_objective', 'test_rules', 'test_dfa_blocks'),
    'bioprop/optim.py': ('test_step',),
    'bioprop/step.py': ('test_step', 'test_diagnostics', 'test_parallel', 'test_population'),
    'bioprop/layers/base.py': ('test_layers', 'test_rules', 'test_networks'),
    'bioprop/layers/convolution.py': LOCAL,
    'bioprop/layers/dense.py': ('test_layers', 'test_networks'),
    'bioprop/layers/locally_connected.py': LOCAL,
    'bioprop/layers/trilinear.py': LOCAL,
    'bioprop/layers/window.py': LOCAL,
    'bioprop/rules/__init__.py': ('test_rules', 'test_config', 'test_own_net'),
    'bioprop/rules/backpropagation.py': RULES,
    'bioprop/rules/base.py': (*RULES, 'test_config'),
    'bioprop/rules/feedback_alignment.py': ('test_rules', 'test_dfa_blocks', 'test_diagnostics'),
    'bioprop/rules/random_matrix.py': ('test_dfa_blocks',),
    'bioprop/rules/target_propagation.py': ('test_rules', 'test_diagnostics'),
}
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


class Mutant(NamedTuple):
    """A change of one line of a file."""

    file: str
    line: int
    change: str  # 'EXPRESSION => EXPRESSION in STATEMENT'
    source: str  # of the whole file, changed

    def __str__(self):
        return f'{self.file}:{self.line}: {self.change}'


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of an expression."""
    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            yield replaced(node, op=OPERATORS[type(op)]())
        case ast.Compare(ops=[op]):
            yield replaced(node, ops=[OPERATORS[type(op)]()])
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield ast.Constant(value + 1)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.Subscript(value=value, slice=ast.Slice()):
            yield value
        case ast.Call(args=[one]) if isinstance(node.func, ast.Attribute):
            yield one  # jax.lax.stop_gradient(x), jnp.square(x), ...
        case ast.Call(args=[one, other, *rest]) if not isinstance(one, ast.Starred):
            yield replaced(node, args=[other, one, *rest])
        case ast.Tuple(elts=[one, other, *rest], ctx=ast.Load()):
            yield replaced(node, elts=[other, one, *rest])


def replaced(node: ast.AST, **fields) -> ast.AST:
    """A copy of the node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def places(tree: ast.AST, within: ast.stmt | None = None) -> Iterator[tuple]:
    """(parent, field, index or None, child, statement) of all expressions but annotations."""
    for field, value in ast.iter_fields(tree):
        if field in ('annotation', 'returns', 'decorator_list'):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.Import | ast.ImportFrom | ast.Raise):
                continue
            if isinstance(child, ast.AST):
                statement = child if isinstance(child, ast.stmt) else within
                if isinstance(child, ast.expr) and not isinstance(tree, ast.Expr):
                    yield tree, field, index, child, statement
                yield from places(child, statement)


def mutants(file: str) -> Iterator[Mutant]:
    """Every change of a file, in its order."""
    tree = ast.parse((ROOT / file).read_text())
    for parent, field, index, child, statement in places(tree):
        for new in changes(child):
            change = f'{told(child)} => {told(new)} in {told(statement)}'
            put(parent, field, index, new)
            source = ast.unparse(ast.fix_missing_locations(tree))
            put(parent, field, index, child)
            yield Mutant(file, statement.lineno, change, source)


def put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> None:
    """Puts the child into its place."""
    if index is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[index] = child


def told(node: ast.AST) -> str:
    """An expression or a statement in one line, without its body."""
    if hasattr(node, 'body') and isinstance(node, ast.stmt):
        node = replaced(node, body=[ast.Pass()], decorator_list=[], orelse=[])
    return ' '.join(ast.unparse(ast.fix_missing_locations(node)).split())


def equivalent() -> set[str]:
    """'FILE: CHANGE' of those that change nothing."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    return {line.rpartition(' :: ')[0] for line in lines if ' :: ' in line}


def noticed(mutant: Mutant, tree: Path) -> bool:
    """Whether a test fails in a copy of the tree with this change."""
    path = tree / mutant.file
    path.write_text(mutant.source)
    tests = [f'tests/{name}.py' for name in GUARDS[mutant.file]]
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-n', '0', '-p', 'no:cacheprovider']
    environment = os.environ | {
        'PYTHONPATH': str(tree),
        'PYTHONDONTWRITEBYTECODE': '1',
        'JAX_COMPILATION_CACHE_DIR': str(tree.parent / 'cache'),  # shared by all changes
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }
    try:
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environment, timeout=SECONDS,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True
    finally:
        shutil.copy(ROOT / mutant.file, path)
    return done.returncode != 0


def main() -> int:
    """Runs what the command line names; the number of changes that nobody noticed, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='*', default=list(GUARDS), help=', '.join(GUARDS))
    parser.add_argument('--most', type=int, help='changes tried, a sample')
    parser.add_argument('--list', action='store_true', help='name the changes, try none')
    given = parser.parse_args()
    if unknown := set(given.files) - set(GUARDS):
        parser.error(f'no tests are known to guard {", ".join(sorted(unknown))}')
    known = equivalent()
    found = [each for file in given.files for each in mutants(file)]
    found = [each for each in found if f'{each.file}: {each.change}' not in known]
    if given.most and given.most < len(found):
        found = sorted(random.Random(0).sample(found, given.most), key=str)
    if given.list:
        print(*found, sep='\n')
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / 'tree'
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns('.git', 'runs', 'studies'))
        for number, mutant in enumerate(found, start=1):
            good = noticed(mutant, tree)
            missed += not good
            print(f'{number}/{len(found)} {"noticed" if good else "MISSED "} {mutant}', flush=True)
    print(f'{len(found) - missed} of {len(found)} changes were noticed')
    return min(missed, 1)


if __name__ == '__main__':
    sys.exit(main())
