"""Under JAX_DISABLE_JIT, as one debugs a rule, the rule sees its numbers wherever it is trained."""

import json

import jax
import pytest

from bioprop import Rule
from bioprop.errors import UserError
from bioprop.rules.backpropagation import bp
from bioprop.rules.base import no_feedback
from bioprop.running.population import train_population
from bioprop.running.train import train
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.training.parallel import available

seen = []


def watched_bp():
    """Backpropagation, which looks at its numbers as one would by print."""

    def signals(network, weights, states, context):
        seen.append(states[-1])
        return bp().signals(network, weights, states, context)

    return Rule(no_feedback, signals)


def config(seed):
    small = {
        'hidden': (7,), 'batch_size': 1500, 'epochs': 1, 'eval_batch_size': 500,
        'optimizer': 'sgd', 'lr': 0.1, 'seed': seed,
    }  # fmt: skip
    return resolve(paper('mnist_mini', f'{__name__}:watched_bp', **small))


def scores(workdir):
    summary = json.loads((workdir / 'summary.json').read_text())
    return {name: value for name, value in summary.items() if name.endswith('_error')}


@pytest.mark.full
def test_a_rule_sees_its_numbers_alone_and_in_a_population(quick, tmp_path):
    """On one of the eight devices, and each member for itself."""
    seen.clear()
    workdirs = [tmp_path / 'one', tmp_path / 'two']
    with jax.disable_jit():
        train(config(1), tmp_path / 'alone', [])
        train_population([config(1), config(2)], workdirs, tmp_path / 'population')
    assert len(seen) == 3 * (4500 // 1500)
    assert not any(isinstance(states, jax.core.Tracer) for states in seen)
    assert len(scores(workdirs[0])) == 3
    assert scores(workdirs[0]) == pytest.approx(scores(tmp_path / 'alone'))


def test_a_run_takes_one_device_and_is_no_part_of_several_processes(monkeypatch):
    assert available() == tuple(jax.devices())
    with jax.disable_jit():
        assert available() == tuple(jax.devices()[:1])
        monkeypatch.setattr(jax, 'process_count', lambda: 2)
        with pytest.raises(UserError, match='JAX_DISABLE_JIT'):
            available()
    assert available() == tuple(jax.devices())
