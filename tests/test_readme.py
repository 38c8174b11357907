"""What the README shows runs as printed."""

import importlib.util
import re
from pathlib import Path

import jax
import pytest

from bioprop.resolve import resolve
from bioprop.step import SCHEDULES

ROOT = Path(__file__).parent.parent


def test_python_block_runs():
    block = re.search(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)[1]
    names = {}
    exec(block, names)
    weights, updates = names['weights'], names['updates']
    assert jax.tree.structure(updates) == jax.tree.structure(weights)
    # One gradient step on each side is a step down: the forward one on the loss of this batch.
    forward = jax.tree.map(lambda w, u: w - 0.01 * u, weights['forward'], updates['forward'])
    after, _ = names['objective'](
        weights | {'forward': forward}, names['batch'], jax.random.key(1), names['hparams']
    )
    assert after < names['value']


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_every_config_resolves_in_every_schedule(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert f'configs/{path.name}' in module.__doc__
    has_inverses = 'tp' in module.get_config().rule
    for schedule in SCHEDULES if has_inverses else ('parallel',):
        config = resolve(module.get_config(f'schedule={schedule}'))
        assert config['schedule'] == schedule
        assert config['lr'] > 0
        if has_inverses:
            assert config['inverse_lr'] > 0
            assert config['sigma'] > 0
