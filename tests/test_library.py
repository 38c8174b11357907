"""What docs/library.md shows runs as printed, and every config says its own command."""

import importlib.util
import re
from pathlib import Path

import jax
import pytest

from bioprop.errors import UserError
from bioprop.rules import RULES
from bioprop.settings.keys import keys_of
from bioprop.settings.resolve import resolve
from bioprop.training.schedules import SCHEDULES

ROOT = Path(__file__).parent.parent


BLOCKS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'library.md').read_text(), re.DOTALL)


def run(block):
    names = {}
    exec(block, names)
    return names


def test_the_objective_steps_down():
    names = run(BLOCKS[0])
    weights, updates = names['weights'], names['updates']
    assert jax.tree.structure(updates) == jax.tree.structure(weights)
    # One gradient step on each side is a step down: the forward one on the loss of this batch.
    forward = jax.tree.map(lambda w, u: w - 0.01 * u, weights['forward'], updates['forward'])
    after, _ = names['objective'](
        weights | {'forward': forward}, names['batch'], jax.random.key(1), names['hparams']
    )
    assert after < names['value']


def test_the_layer_has_the_shapes_that_are_said():
    names = run(BLOCKS[1])
    assert names['h'].shape == names['a'].shape == (10, 16, 16, 64)
    assert names['back'].shape == names['x'].shape
    assert jax.tree.map(jax.numpy.shape, names['gradient']) == {
        'kernel': (16, 16, 72, 64), 'bias': (16, 16, 64)
    }  # fmt: skip


def test_the_flax_module_has_flaxs_parameters():
    kernels = [layer['kernel'].shape for layer in run(BLOCKS[2])['variables']['params'].values()]
    assert kernels == [(16, 16, 72, 64), (16, 16, 576, 32)]
    assert len(BLOCKS) == 3


CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
ANY_RULE = ('mnist', 'fashion_mnist', 'cifar10', 'imagenet')  # files that name none


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert f'configs/{path.name}' in module.__doc__
    return module


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', ANY_RULE)
def test_a_file_of_a_set_takes_every_rule_and_has_its_keys(name, rule):
    module = load(ROOT / 'configs' / f'{name}.py')
    config = module.get_config(f'rule={rule}')
    assert set(keys_of(rule)) <= set(config)
    resolved = resolve(config)
    assert resolved['rule'] == rule
    assert resolved['lr'] > 0
    with pytest.raises(UserError, match='name the rule after the colon, rule=NAME; known: bp'):
        module.get_config()


NAMED = [path for path in CONFIGS if path.stem not in ANY_RULE]


@pytest.mark.parametrize('path', NAMED, ids=lambda path: path.stem)
def test_every_config_resolves_in_every_schedule(path):
    module = load(path)
    has_inverses = 'tp' in module.get_config().rule
    for schedule in SCHEDULES if has_inverses else ('parallel',):
        config = resolve(module.get_config(f'schedule={schedule}'))
        assert config['schedule'] == schedule
        assert config['lr'] > 0
        if has_inverses:
            assert config['feedback_lr'] > 0
            assert config['sigma'] > 0
