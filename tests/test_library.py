"""What docs/library.md shows runs as printed, and every config says its own command."""

import importlib.util
import re
import statistics
from pathlib import Path

import jax
import pytest
import studies
from scipy import stats

from bioprop.errors import UserError
from bioprop.rules import RULES
from bioprop.running.train import train
from bioprop.settings import paper
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


def test_a_run_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = paper('mnist', 'bp', dataset='mnist_mini', hidden=(8,), batch_size=1000, epochs=2)
    summary = train(resolve(config), Path('runs/quickstart'), [])
    names = run(BLOCKS[3])
    told = summary['test_error_at_best_validation']
    assert float(names['error']) == pytest.approx(told, abs=1e-4)
    assert [state.shape for state in names['states']] == [(10, 28, 28, 1), (10, 8), (10, 10)]


def test_runs_and_records_are_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studies.searched(Path('studies/table1_mnist_fc'))
    names = run(BLOCKS[4])
    assert names['table'].loc['dtp', 'alternating', 0.1].tolist() == [13, pytest.approx(7**0.5), 3]
    assert names['curves']['bp', 0.5].tolist() == [50, 30]


def test_spreads_are_of_the_winners(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studies.searched(Path('studies/table1_mnist_fc'))
    names = run(BLOCKS[5])
    ours, theirs = ([11, 12, 16], [7, 8, 12])
    assert names['tests'].loc['bp'].tolist() == [9, pytest.approx(statistics.stdev(theirs)), 3]
    (found,) = names['difference'].to_dict('records')
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert (found['low'], found['high']) == pytest.approx(tuple(expected))
    assert found['difference'] == 4
    assert len(BLOCKS) == 6


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
