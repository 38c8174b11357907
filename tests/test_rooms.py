"""Imports run one way: from the commands down, and in no circle."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bioprop.rules import CATALOGUE

ROOT = Path(__file__).parents[1]
# From the lowest up; a file imports from its own room and from those before it.
ROOMS = {
    'bioprop': (
        'errors', 'registry', 'records', 'layers', 'losses', 'networks', 'rules', 'dale',
        'objective',
        'diagnostics', 'data', 'training', 'testing', 'settings', 'running', 'costs', 'studies',
        'command_line', 'main',
    ),
    'experiments': (
        'benchmarks', 'analysis', 'drawing', 'pages', 'clusters', 'launch', 'table',
        'benchmark', 'collect', 'diagnose', 'figures', 'insight', 'publish', 'report', 'rules',
        'leaderboard', 'scaling', 'search', 'sweep', 'table1', 'table2',
    ),
}  # fmt: skip
MODULES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
    for package in ROOMS
    for path in (ROOT / package).rglob('*.py')
}


def imports(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in its file."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        match node:
            case ast.Import(names):
                yield from (name.name for name in names if name.name in MODULES)
            case ast.ImportFrom(source, names):
                whole = [f'{source}.{name.name}' for name in names]
                yield from {each if each in MODULES else source for each in whole} & MODULES.keys()


def room(module: str) -> str:
    """Of a module: 'records' of 'bioprop.records.writers'."""
    return (module.split('.') + [''])[1]


@pytest.mark.parametrize('package', ROOMS)
def test_every_room_has_its_place(package):
    rooms = {room(module) for module in MODULES if module.startswith(package)} - {''}
    assert rooms == set(ROOMS[package])


@pytest.mark.parametrize('module', [each for each in MODULES if room(each)])
def test_a_file_imports_nothing_from_above(module):
    package = module.partition('.')[0]
    order = ROOMS[package]
    for other in imports(module):
        if other.startswith(package):
            assert room(other), f'{module} imports all of {other}'
            assert order.index(room(other)) <= order.index(room(module)), f'{module}: {other}'
        else:
            assert package == 'experiments', f'{module}: {other}'


def test_there_is_no_circle():
    # A package is its files: what it gathers of them for others is above them, and not beside.
    inside = {name for name, path in MODULES.items() if path.name == '__init__.py'}
    graph = {
        module: {each for each in imports(module) if not module.startswith(f'{each}.')}
        for module in MODULES
    }
    assert inside < set(graph)
    graphlib.TopologicalSorter(graph).prepare()


# What may name a rule: rules, the numbers of the paper, its two tables, the study of scaling, which
# chooses some, and the benchmarks, where backpropagation is what others are measured by.
NAMING = ('bioprop/rules/', 'bioprop/settings/published.py', 'experiments/benchmark')
TABLES = ('experiments/analysis/paper.py', 'experiments/scaling.py')


@pytest.mark.parametrize('module', MODULES)
def test_rules_are_named_in_few_places(module):
    """All else follows from the catalogue."""
    path = MODULES[module]
    if str(path.relative_to(ROOT)).startswith((*NAMING, *TABLES)):
        return
    nodes = ast.walk(ast.parse(path.read_text()))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assert not set(CATALOGUE) & {each for each in constants if isinstance(each, str)}


def test_few_files_lie_at_the_root():
    assert len(list((ROOT / 'bioprop').glob('*.py'))) <= 8
