"""A run opened again: its weights give the errors that it reported."""

import json
import shutil

import jax
import numpy as np
import pytest
import studies

import bioprop
from bioprop.errors import UserError
from bioprop.losses import softmax_cross_entropy
from bioprop.running.train import train
from bioprop.settings import paper
from bioprop.settings.resolve import resolve


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Three epochs of BP at a rate at which the last one is not the best; and its summary."""
    workdir = tmp_path_factory.mktemp('runs') / 'bp'
    config = paper(
        'mnist', 'bp', dataset='mnist_mini', hidden=(8,), batch_size=400, epochs=3, lr=0.3,
        eval_batch_size=300,
    )  # fmt: skip
    return workdir, train(resolve(config), workdir, [])


def error(opened, part):
    """In percent."""
    said = opened.predict(part.image).argmax(axis=1)
    return 100 * np.mean(said != part.label)


def evaluated(workdir):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    return [record for record in map(json.loads, lines) if record['kind'] == 'eval']


def test_the_best_weights_have_the_errors_of_the_summary(trained):
    workdir, summary = trained
    opened = bioprop.open_run(workdir)
    assert opened.epoch == summary['best_epoch']
    for part, told in (
        (opened.data.test, 'test_error_at_best_validation'),
        (opened.data.validation, 'validation_error'), (opened.data.train, 'train_error'),
    ):  # fmt: skip
        assert error(opened, part) == pytest.approx(summary[told], abs=1e-4)


def test_the_last_weights_have_the_last_errors(trained):
    workdir, _ = trained
    opened, last = bioprop.open_run(str(workdir), 'last'), evaluated(workdir)[-1]
    assert (opened.step, opened.epoch) == (last['step'], 3)
    assert error(opened, opened.data.test) == pytest.approx(last['test_error'], abs=1e-4)


def test_it_has_what_was_trained(trained):
    opened = bioprop.open_run(trained[0])
    assert opened.config['hidden'] == [8]
    assert opened.loss is softmax_cross_entropy
    assert float(opened.hparams['lr']) == pytest.approx(0.3)
    fresh = bioprop.init_weights(jax.random.key(0), opened.network, opened.rule)
    assert jax.tree.map(np.shape, opened.weights) == jax.tree.map(np.shape, fresh)
    assert opened.predict(opened.data.test.image[:7]).shape == (7, 10)


def test_a_run_in_training_is_opened_and_left_as_it_is(trained, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(trained[0], workdir)
    (workdir / 'summary.json').unlink()
    best = bioprop.open_run(workdir).step
    # The epoch that has just been evaluated, best of all, is not saved yet.
    path = workdir / 'metrics.jsonl'
    new = evaluated(workdir)[-1] | {'step': 10**6, 'validation_error': 0.0}
    path.write_text(path.read_text() + json.dumps(new) + '\n')
    before = {each: each.read_bytes() for each in workdir.rglob('*') if each.is_file()}
    assert bioprop.open_run(workdir).step == best
    assert {each: each.read_bytes() for each in workdir.rglob('*') if each.is_file()} == before


def test_a_stored_type_is_computed_in(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / 'run')
    path = tmp_path / 'run' / 'config.json'
    told = json.loads(path.read_text())
    told['config']['precision'] = 'bfloat16'
    path.write_text(json.dumps(told))
    opened = bioprop.open_run(tmp_path / 'run')
    assert opened.predict(opened.data.test.image[:2]).dtype == 'bfloat16'


def test_what_cannot_be_opened_is_said_in_one_message(trained, tmp_path):
    with pytest.raises(UserError, match="did you mean 'last'"):
        bioprop.open_run(trained[0], 'latest')
    with pytest.raises(UserError, match=r'holds no run: it has no config\.json'):
        bioprop.open_run(tmp_path)
    studies.write(tmp_path, studies.config(dataset='mnist_mini'), [9], [8])
    (workdir,) = (tmp_path / 'runs').iterdir()
    with pytest.raises(UserError, match='has no checkpoints'):
        bioprop.open_run(workdir)
    shutil.copytree(trained[0], tmp_path / 'run')
    (tmp_path / 'run' / 'metrics.jsonl').write_text('')
    with pytest.raises(UserError, match='not been evaluated at a checkpoint'):
        bioprop.open_run(tmp_path / 'run')
    assert bioprop.open_run(tmp_path / 'run', 'last').epoch == 3


def test_a_run_of_an_earlier_bioprop_is_not_opened(trained, tmp_path):
    told = json.loads((trained[0] / 'config.json').read_text())
    told['config']['inverse_lr'] = 0.1
    (tmp_path / 'config.json').write_text(json.dumps(told))
    with pytest.raises(UserError, match='begun by an earlier bioprop'):
        bioprop.open_run(tmp_path)
