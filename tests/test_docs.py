"""The tutorials run as printed: files are written where the text says, commands follow in turn."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bioprop import diagnostics
from experiments.pages import rules

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r'```(\w*)\n(.*?)```', re.DOTALL)
FILE = re.compile(r'Put this into\s+`(\w+\.py)`:\s*$')


def follow(name, folder):
    """Does what a tutorial says in that folder; returns what its commands printed."""
    (folder / 'configs').symlink_to(ROOT / 'configs')
    path = Path(sys.executable).parent
    settings = {'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}  # compiles faster
    environment = {**os.environ, **settings, 'PATH': f'{path}{os.pathsep}{os.environ["PATH"]}'}
    text, printed, end = (ROOT / 'docs' / name).read_text(), '', 0
    for fence in FENCE.finditer(text):
        kind, block = fence.groups()
        named = FILE.search(text[end : fence.start()])
        end = fence.end()
        if kind == 'python' and named:
            (folder / named[1]).write_text(block)
        elif kind:
            command = block if kind == 'sh' else f'python - <<"END"\n{block}END\n'
            done = subprocess.run(
                ['bash', '-e', '-c', command], cwd=folder, env=environment, capture_output=True,
                text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            printed += done.stdout
    return printed


def errors(text):
    """The rows of the table of results, by rule."""
    rows = re.findall(r'^ *([\w:]+) +([\d.]+) +([\d.]+) +([\d.]+)$', text, re.MULTILINE)
    return {rule: list(map(float, numbers)) for rule, *numbers in rows}


@pytest.mark.full
def test_your_own_rule(tmp_path):
    printed = follow('your_own_rule.md', tmp_path)
    assert 'sign_symmetry keeps the contract and its claims' in printed
    found, said = errors(printed), errors((ROOT / 'docs' / 'your_own_rule.md').read_text())
    assert list(found) == list(said) == ['bp', 'fa', 'my_rules:sign_symmetry']
    for rule, numbers in found.items():  # they may round otherwise elsewhere
        np.testing.assert_allclose(numbers, said[rule], atol=2)
    angles = re.findall(r'^(\S+) +(\d+) ((?: +[\d.]+){6})$', printed, re.MULTILINE)
    measured = {(rule, int(epoch)): list(map(float, six.split())) for rule, epoch, six in angles}
    assert measured.keys() == {(rule, epoch) for rule in found for epoch in (1, 10)}
    assert max(measured['bp', 1] + measured['bp', 10]) < 0.1
    assert min(measured['fa', 1][:5]) > 80
    assert max(measured['my_rules:sign_symmetry', 10][:5]) < min(measured['fa', 10][:5])


@pytest.mark.full
def test_your_own_layer(tmp_path):
    printed = follow('your_own_layer.md', tmp_path)
    assert 'pooled keeps the contract' in printed
    assert 'my_layers:pooled: 28x28x1 -> 7x7x8 -> 7x7x16 -> 64 -> 10' in printed
    assert 'conv: 28x28x1 -> 7x7x8 -> 7x7x16 -> 64 -> 10' in printed


def test_the_block_on_diagnostics_runs():
    (block,) = re.findall(
        r'```python\n(.*?)```', (ROOT / 'docs' / 'looking_inside.md').read_text(), re.S
    )
    names = {}
    exec(block, names)
    assert 80 < names['found']['update_angle/kernel/layer_1'] < 100


def test_the_table_of_diagnostics_has_them_all():
    text = (ROOT / 'docs' / 'looking_inside.md').read_text()
    assert re.findall(r'^\| `(\w+)` \|', text, re.MULTILINE) == list(diagnostics.DIAGNOSTICS)
    assert '`cheap` (the first eight' in text
    assert len(diagnostics.CHEAP) == 8


def test_the_page_of_all_rules_is_what_the_catalogue_makes_it():
    assert (ROOT / 'docs' / 'rules.md').read_text() == rules.page(
        ROOT / 'results' / 'rules_mnist.json'
    )


@pytest.mark.full
def test_the_reference_has_a_page_for_every_module(tmp_path):
    command = [sys.executable, ROOT / 'docs' / 'reference.py', tmp_path]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, 'PYTHONPATH': ''})
    modules = {path.relative_to(ROOT) for path in (ROOT / 'bioprop').rglob('*.py')}
    pages = {path.relative_to(tmp_path) for path in tmp_path.rglob('*.html')}
    for module in modules:
        name = module.parent if module.name == '__init__.py' else module
        assert name.with_suffix('.html') in pages, module
    assert 'custom_vjp' in (tmp_path / 'bioprop' / 'objective.html').read_text()
