"""Plants faults in the package, one at a time, and names those that no test notices.

python tests/mutants.py [PATH ...] [--most N] [--list]

PATH is a file of GUARDS or a folder of them; by default all of them. Each change is made in a copy
of the tree, where the tests that guard its file run until one fails. --most takes a sample, always
the same one. Changes that change nothing are in tests/mutants_equivalent.txt, 'CHANGE :: why' in a
line each, with the CHANGE that --list prints. Exits with 1 if a change went unnoticed.
"""

import argparse
import ast
import copy
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).with_name('mutants_equivalent.txt')
SECONDS = 900  # after which tests count as failed: they never end
KEEN = 10  # tests that are asked before the rest
RULES = ('test_rules', 'test_catalogue')
LOCAL = ('test_local', 'test_linen', 'test_networks', 'test_testing')
TARGETS = ('test_targets_by_hand', 'test_target_family', 'test_inverses', 'test_testing')
DIRECT = ('test_targets_by_hand', 'test_direct_targets', 'test_testing')
# The tests that guard a file, those that notice most first.
GUARDS = {
    'bioprop/dale/signs.py': ('test_dale',),
    'bioprop/dale/parisien.py': ('test_dale',),
    'bioprop/objective.py': ('test_objective', 'test_rules', 'test_dfa_blocks'),
    'bioprop/training/diagnosis.py': ('test_diagnostics', 'test_step', 'test_parallel'),
    'bioprop/training/evaluation.py': ('test_step', 'test_parallel', 'test_population'),
    'bioprop/training/images.py': ('test_inputs', 'test_step', 'test_parallel'),
    'bioprop/training/learner.py': ('test_step',),
    'bioprop/training/optim.py': ('test_step',),
    'bioprop/training/passes.py': ('test_step', 'test_diagnostics', 'test_parallel'),
    'bioprop/training/schedules.py': ('test_step', 'test_config', 'test_resume'),
    'bioprop/training/step.py': ('test_step', 'test_parallel'),
    'bioprop/layers/base.py': ('test_layers', 'test_rules', 'test_networks'),
    'bioprop/layers/convolution.py': LOCAL,
    'bioprop/layers/dense.py': ('test_layers', 'test_networks'),
    'bioprop/layers/locally_connected.py': (*LOCAL, 'test_costs'),
    'bioprop/layers/trilinear.py': LOCAL,
    'bioprop/layers/window.py': LOCAL,
    'bioprop/rules/__init__.py': ('test_catalogue', 'test_config', 'test_own_net'),
    'bioprop/rules/alignment.py': ('test_alignment', 'test_testing'),
    'bioprop/rules/backpropagation.py': ('test_rules', 'test_objective'),
    'bioprop/rules/base.py': (*RULES, 'test_own_net', 'test_step', 'test_testing'),
    'bioprop/rules/boltzmann.py': ('test_boltzmann', 'test_testing'),
    'bioprop/rules/brainprop.py': ('test_brainprop', 'test_testing'),
    'bioprop/rules/broadcast_alignment.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/burst.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/competition.py': ('test_competition', 'test_testing'),
    'bioprop/rules/contrastive_hebbian.py': ('test_contrastive_hebbian', 'test_testing'),
    'bioprop/rules/counter_current.py': ('test_counter_current', 'test_testing'),
    'bioprop/rules/direct_feedback.py': (
        'test_direct_feedback',
        'test_dfa_blocks',
        *RULES,
        'test_diagnostics',
    ),
    'bioprop/rules/difference_reconstruction.py': TARGETS,
    'bioprop/rules/direct_kolen_pollack.py': ('test_direct_feedback', 'test_testing'),
    'bioprop/rules/direct_targets.py': DIRECT,
    'bioprop/rules/dtp_drl.py': DIRECT,
    'bioprop/rules/dual_propagation.py': ('test_dual_propagation', 'test_testing'),
    'bioprop/rules/equilibrium_propagation.py': ('test_catalogue', 'test_equilibrium_propagation'),
    'bioprop/rules/error_broadcast.py': ('test_direct_feedback', 'test_testing'),
    'bioprop/rules/feedback_alignment.py': (*RULES, 'test_diagnostics'),
    'bioprop/rules/feasible_targets.py': TARGETS,
    'bioprop/rules/feedback_control.py': DIRECT,
    'bioprop/rules/forward_forward.py': ('test_forward_forward', 'test_testing'),
    'bioprop/rules/feedforward_initialisation.py': ('test_relaxing', 'test_testing'),
    'bioprop/rules/gait_prop.py': DIRECT,
    'bioprop/rules/gauss_newton_targets.py': DIRECT,
    'bioprop/rules/gibbs.py': ('test_boltzmann', 'test_testing'),
    'bioprop/rules/hebbian.py': ('test_contrastive_hebbian', 'test_equilibrium_propagation'),
    'bioprop/rules/integrate_and_fire.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/inverses.py': ('test_inverses', *RULES),
    'bioprop/rules/kernel_feedback.py': ('test_kolen_pollack', 'test_testing'),
    'bioprop/rules/kolen_pollack.py': ('test_kolen_pollack', 'test_testing'),
    'bioprop/rules/linear_algebra.py': DIRECT,
    'bioprop/rules/local_prediction.py': ('test_local_prediction', 'test_testing'),
    'bioprop/rules/local_representation_alignment.py': TARGETS,
    'bioprop/rules/microcircuit.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/pepita.py': ('test_pepita', 'test_testing'),
    'bioprop/rules/perturbation.py': ('test_perturbation', 'test_testing'),
    'bioprop/rules/poisson.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/predictive_coding.py': ('test_predictive_coding', 'test_testing'),
    'bioprop/rules/product_alignment.py': ('test_product_alignment', 'test_testing'),
    'bioprop/rules/random_matrix.py': ('test_dfa_blocks',),
    'bioprop/rules/recirculation.py': ('test_boltzmann', 'test_testing'),
    'bioprop/rules/recurrent_backpropagation.py': ('test_contrastive_hebbian', 'test_testing'),
    'bioprop/rules/relaxation.py': ('test_equilibrium_propagation', 'test_contrastive_hebbian'),
    'bioprop/rules/segregated_dendrites.py': ('test_neurons', 'test_testing'),
    'bioprop/rules/sign_symmetry.py': ('test_sign_symmetry', 'test_testing'),
    'bioprop/rules/simplified_target_propagation.py': (*RULES, 'test_diagnostics'),
    'bioprop/rules/two_sites.py': ('test_neurons',),
    'bioprop/rules/tangents.py': ('test_perturbation', 'test_testing'),
    'bioprop/rules/target_propagation.py': (*RULES, 'test_inverses', 'test_diagnostics'),
    'bioprop/rules/transforms.py': ('test_transforms', 'test_step'),
}
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CHANGEABLE = ast.expr | ast.AugAssign
NAMED = ast.FunctionDef | ast.ClassDef


class Mutant(NamedTuple):
    """A file with one change."""

    file: str
    change: str  # 'FILE: FUNCTION: the line as it is now'
    source: str


def changes(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in the place of a node that is that field of another."""
    if field in ('test', 'ifs') and not isinstance(node, ast.Compare | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)
    match node:
        case ast.BinOp(left, ast.BitOr(), right):  # of dictionaries
            yield from (left, right)
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield replaced(node, op=OPERATORS[type(op)]())
        case ast.Compare(ops=[op]):
            yield replaced(node, ops=[OPERATORS[type(op)]()])
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield operand
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse)
        case ast.Subscript(value, ast.Slice()):
            yield value
        case ast.Call(args=[one]) if not isinstance(one, ast.Starred):
            yield one
        case ast.Call(args=[one, other, *rest]) if not isinstance(one, ast.Starred):
            yield replaced(node, args=[other, one, *rest])
        case ast.Tuple([one, other, *rest], ast.Load()):
            yield replaced(node, elts=[other, one, *rest])


def replaced(node: ast.AST, **fields) -> ast.AST:
    """A copy of the node with other fields."""
    new = copy.copy(node)
    vars(new).update(fields)
    return new


def left_alone(node: ast.AST) -> bool:
    """Whether it is for readers, or a check that never fails: its changes would not be faults."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.keyword('strict'):
            return True
        case ast.Assign([ast.Name(name)]):
            return name.istitle()  # of a type
    return False


def places(node: ast.AST, function: str = '') -> Iterator[tuple]:
    """(parent, field, index or None, child, function) of all that may be changed below a node."""
    for field, value in ast.iter_fields(node):
        if field in ('annotation', 'returns', 'decorator_list'):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or left_alone(child):
                continue
            if isinstance(child, CHANGEABLE):
                yield node, field, index, child, function
            inner = f'{function}.{child.name}' if isinstance(child, NAMED) else function
            yield from places(child, inner.removeprefix('.'))


def mutants(file: str) -> Iterator[Mutant]:
    """Every change of a file, in its order."""
    tree = ast.parse((ROOT / file).read_text())
    lines = ast.unparse(tree).splitlines()
    for parent, field, index, child, function in places(tree):
        for new in changes(child, field):
            put(parent, field, index, new)
            source = ast.unparse(ast.fix_missing_locations(tree))
            put(parent, field, index, child)
            pairs = zip(lines, source.splitlines(), strict=True)
            if changed := [new.strip() for old, new in pairs if old != new]:
                yield Mutant(file, f'{file}: {function}: {changed[0]}', source)


def put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> None:
    """Puts the child into its place."""
    if index is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[index] = child


def found(paths: list[str], most: int) -> list[Mutant]:
    """The changes of the files at these paths that should be noticed, or one of each stretch."""
    files = [file for file in GUARDS if any(Path(file).is_relative_to(path) for path in paths)]
    lines = EQUIVALENT.read_text().splitlines()
    known = {line.rpartition(' :: ')[0] for line in lines}
    every = {each.change: each for file in files for each in mutants(file)}
    every = [each for each in every.values() if each.change not in known]
    most, draw = min(most, len(every)), random.Random(0)
    ends = [len(every) * number // most for number in range(most + 1)] if most else []
    return [every[draw.randrange(*stretch)] for stretch in itertools.pairwise(ends)]


def failing(tree: Path, tests: Iterable[str]) -> str | None:
    """The first of the tests that fails in that copy of the tree, or 'no end'; None if all pass."""
    command = [sys.executable, '-m', 'pytest', '-x', '-n', '0', '-p', 'no:cacheprovider']
    command += ['-m', 'not slow']
    command.append('--hypothesis-profile=unshrunk')
    environment = os.environ | {
        'PYTHONPATH': str(tree),
        'PYTHONDONTWRITEBYTECODE': '1',
        'JAX_COMPILATION_CACHE_DIR': str(tree.parent / 'cache'),  # shared by all changes
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }
    try:
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environment, timeout=SECONDS, capture_output=True,
            text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 'no end'
    failed = re.search(r'^(?:FAILED|ERROR) (\S+::\S.*?)(?: - .*)?$', done.stdout, re.MULTILINE)
    return None if done.returncode == 0 else failed[1] if failed else 'no test can be run'


def missed(chosen: list[Mutant], tree: Path) -> int:
    """How many of the changes no test notices; each is said.

    The tests that noticed most changes of a file are asked first, since most of the time goes into
    finding out that a test passes.
    """
    count, keen = 0, defaultdict(Counter)
    for number, (file, change, source) in enumerate(chosen, start=1):
        (tree / file).write_text(source)
        first = [name for name, _ in keen[file].most_common(KEEN)]
        noticed = (first and failing(tree, first)) or failing(tree, modules(file))
        shutil.copy(ROOT / file, tree / file)
        if noticed and '::' in noticed:
            keen[file][noticed] += 1
        count += not noticed
        print(f'{number}/{len(chosen)} {noticed or "MISSED"} {change}', flush=True)
    return count


def modules(file: str) -> list[str]:
    """The files of the tests that guard a file."""
    return [f'tests/{name}.py' for name in GUARDS[file]]


def main() -> int:
    """Runs what the command line names; 1 if a change went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='*', default=['bioprop'], help=', '.join(GUARDS))
    parser.add_argument('--most', type=int, default=sys.maxsize, help='changes tried, a sample')
    parser.add_argument('--list', action='store_true', help='name the changes, try none')
    given = parser.parse_args()
    if given.most < 1:
        parser.error('--most is a number from 1 on')
    chosen = found(given.paths, given.most)
    if not chosen:
        parser.error(f'no tests are known to guard {", ".join(given.paths)}')
    if given.list:
        print(*(each.change for each in chosen), sep='\n')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / 'tree'
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns('.*', 'runs', 'studies'))
        if failing(tree, {test for each in chosen for test in modules(each.file)}):
            parser.error('the tests fail without any change')
        count = missed(chosen, tree)
    print(f'{len(chosen) - count} of {len(chosen)} changes were noticed')
    return min(count, 1)


if __name__ == '__main__':
    sys.exit(main())
