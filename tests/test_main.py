"""The command line: a run and its workdir, and bad input, each as a user would do it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from problems import full
from programs import run_main
from test_data import write_set

from bioprop.data import sets

ROOT = Path(__file__).parent.parent
SMALL = (
    '--config.dataset=mnist_mini', '--config.hidden=(16,16)', '--config.epochs=2',
    '--config.batch_size=500',
)  # fmt: skip


def without_times(summary):
    return {k: v for k, v in summary.items() if k not in ('seconds', 'examples_per_second')}


def bioprop(workdir, *arguments, config='configs/mnist_dtp.py', small=SMALL, **environment):
    """Runs the program, by default on mnist_mini and a small net.

    An environment is read when JAX is imported: it takes a program started from nothing.
    """
    given = [f'--config={config}', f'--workdir={workdir}', *small, *arguments]
    if not environment:
        return run_main(*given, TFDS_DATA_DIR='')
    command = [sys.executable, '-m', 'bioprop.main', *given]
    environment = {**os.environ, 'TFDS_DATA_DIR': '', **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def refused(done, *words):
    """Whether it ended in one message with those words, without a traceback."""
    message = done.stderr.strip()
    assert done.returncode not in (0, None), done.stdout
    assert 'Traceback' not in message
    assert message.startswith('bioprop: '), message
    for word in words:
        assert word in message


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The workdir of a finished run, and what was printed."""
    workdir = tmp_path_factory.mktemp('runs') / 'run'
    done = bioprop(workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_workdir_holds_what_is_promised(finished):
    workdir, _ = finished
    config = json.loads((workdir / 'config.json').read_text())
    assert config['config']['lr'] == 0.000757  # table 5, MNIST FC, DTP parallel
    assert config['config']['alpha'] == 0.15008
    assert '--config.epochs=2' in config['overrides']
    assert config['versions'].keys() >= {'python', 'jax', 'bioprop'}
    assert 'commit' in config
    assert list((workdir / 'tensorboard').glob('*tfevents*'))
    assert list((workdir / 'checkpoints').glob('[0-9]*'))


def test_summary(finished):
    summary = json.loads((finished[0] / 'summary.json').read_text())
    assert summary.keys() >= {
        'rule', 'net', 'dataset', 'schedule', 'seed', 'epochs', 'train_error', 'validation_error',
        'test_error_at_best_validation', 'best_test_error', 'best_epoch', 'examples_per_second',
        'seconds', 'diverged',
    }  # fmt: skip
    records = [
        json.loads(line) for line in (finished[0] / 'metrics.jsonl').read_text().splitlines()
    ]
    scores = [r for r in records if r['kind'] == 'eval']
    best = min(scores, key=lambda r: r['validation_error'])
    assert [r['step'] for r in scores] == [9, 18]
    assert summary['validation_error'] == best['validation_error']
    assert summary['test_error_at_best_validation'] == best['test_error']
    assert summary['best_test_error'] == min(r['test_error'] for r in scores)
    assert 0 < summary['best_test_error'] < 95
    assert summary['epochs'] == 2
    assert not summary['diverged']


def test_console_shows_devices_net_counts_and_progress(finished):
    output = finished[1]
    # 784 x 16 + 16, 16 x 16 + 16, 16 x 10 + 10; DTP trains g_2 alone: 16 x 16 + 16
    for words in (
        'cpu',
        '28x28x1 -> 16 -> 16 -> 10',
        '13,002 forward, 272 feedback',
        'ETA',
        'images/s',
    ):
        assert words in output


def test_same_command_again_changes_nothing(finished):
    workdir, _ = finished
    before = (workdir / 'summary.json').read_text(), (workdir / 'metrics.jsonl').read_text()
    assert bioprop(workdir).returncode == 0
    assert before == (
        (workdir / 'summary.json').read_text(),
        (workdir / 'metrics.jsonl').read_text(),
    )


def test_changed_config_is_refused_with_its_keys(finished):
    workdir, _ = finished
    before = (workdir / 'config.json').read_text()
    refused(
        bioprop(workdir, '--config.lr=0.5', '--config.seed=3'), 'lr: 0.000757 -> 0.5', 'seed: 0'
    )
    assert (workdir / 'config.json').read_text() == before


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(finished, tmp_path):
    workdir = tmp_path / 'copy'
    subprocess.run(['cp', '-r', finished[0], workdir], check=True)

    def truncate(step):
        for file in (workdir / 'checkpoints' / str(step)).rglob('*'):
            if file.is_file() and file.stat().st_size > 2000:
                os.truncate(file, 1000)

    truncate(18)
    done = bioprop(workdir)
    assert done.returncode == 0, done.stderr
    assert 'checkpoint 18 is damaged' in done.stderr
    assert 'resumed at step 9' in done.stdout
    assert (workdir / 'damaged-checkpoint-18').is_dir()
    one, two = (json.loads((w / 'summary.json').read_text()) for w in (workdir, finished[0]))
    assert without_times(one) == without_times(two)
    truncate(9)
    truncate(18)
    refused(bioprop(workdir), 'damaged', 'Delete that folder')


def test_argument_string_equals_override(tmp_path):
    """Both are resolved after they are parsed: alternating has its own published settings."""
    done = bioprop(tmp_path / 'a', config='configs/mnist_dtp.py:schedule=alternating')
    assert done.returncode == 0, done.stderr
    done = bioprop(tmp_path / 'b', '--config.schedule=alternating')
    assert done.returncode == 0, done.stderr
    a, b = (json.loads((tmp_path / x / 'config.json').read_text())['config'] for x in 'ab')
    assert a == b
    assert a['feedback_lr'] == 0.004593
    a, b = (json.loads((tmp_path / x / 'summary.json').read_text()) for x in 'ab')
    assert a['best_test_error'] == b['best_test_error']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--config.epcohs=3'], ['epcohs', 'epochs']),
        (['--distributed'], ['cannot be joined', '--coordinator=HOST:PORT']),
        (['--config.parallel=pmpa'], ['pmpa', 'pmap']),
        (['--config.precision=float16'], ['float16', 'bfloat16']),
        (['--config.accumulate=7'], ['batch_size', 'accumulate = 7']),
        (['--config.image_size=32'], ['mnist_mini', 'image_size']),
        (['--config.epochs=three'], ['epochs', 'three']),
        (['--config.epochs=0'], ['epochs', 'at least 1']),
        (['--config=configs/mnist_dtp.py:rule=dpt'], ["'dpt'", "'dtp'"]),
        (['--config=configs/mnist_dtp.py:rule=no_such:rule'], ['no_such']),
        (['--config.rule=fa'], ['after the colon', 'rule=fa']),
        (['--config.schedule=alternate'], ['alternate', 'alternating']),
        (
            ['--config=configs/mnist_bp.py:dataset=mnist_mini', '--config.schedule=alternating'],
            ['bp', 'parallel'],
        ),
        (['--config.sigma=much'], ['sigma', 'number']),
        (['--config.sigma=(0.1,0.2)'], ['sigma', '3 layers']),
        (['--config.optimizer=adamm'], ['adamm', "'adam'"]),
        (['--config.optimizer=sgd'], ['--config.lr=VALUE']),
        (['--config.sigma=-1'], ['sigma', 'at least 0']),
        (['--config.beta1=1'], ['beta1', 'below 1']),
        (['--config.hidden=(16,0)'], ['hidden']),
        (['--config.augment=often'], ['augment', 'often']),
        (['--config.auxiliary_units=5'], ['belongs to ao_sdtp']),
        (['--config.dataset=kmnist'], ['--config.paper_dataset=mnist']),
        (['--config.dataset=cifar10', '--config.data_dir=/nowhere'], ['prepare cifar10']),
        (['--config.dataset=mnits'], ["no data set 'mnits'", "did you mean 'mnist'"]),
        (['--config.batch_size=100000'], ['batch_size']),
        (['--config.paper_dataset=none'], ['--config.lr=VALUE']),
        (['--config=configs/mnist_dtp.py:rule=pathlib:Path'], ['bioprop.Rule']),
        (['extra'], ['extra']),
    ],
)
def test_bad_input_is_refused_before_the_workdir_is_made(tmp_path, arguments, words):
    refused(bioprop(tmp_path / 'run', *arguments), *words)
    assert not (tmp_path / 'run').exists()


def test_bad_config_files(tmp_path):
    """All that is wrong with them is in test_config.py; these are as a user would see them."""
    typo, bug = tmp_path / 'typo.py', tmp_path / 'bug.py'
    typo.write_text(
        'from bioprop.settings import paper\n'
        "def get_config(a=''): return paper('mnist', 'bp', a, dataset='mnist_mini', epoch=1)\n"
    )
    bug.write_text('def get_config(a=""):\n    return {}["lr"]\n')
    refused(bioprop(tmp_path / 'run', config=typo), "'epoch'", "'epochs'")
    refused(bioprop(tmp_path / 'run', config=bug), f"{bug}, line 2: KeyError: 'lr'")
    assert not (tmp_path / 'run').exists()


def test_unwritable_workdir():
    refused(bioprop('/proc/run'), '/proc/run')


def test_divergence_keeps_a_workdir_that_a_smaller_rate_can_use(tmp_path):
    """The slow blow-up of a negative decay passes some checkpoints before it overflows."""
    workdir, calm = tmp_path / 'run', tmp_path / 'calm'
    slow = ('--config.optimizer=sgd', '--config.epochs=6', '--config.momentum=0.9')
    refused(bioprop(workdir, *slow, '--config.lr=1e37'), 'diverged', 'smaller --config.lr')
    assert json.loads((workdir / 'summary.json').read_text())['diverged']
    for folder in (workdir, calm):
        done = bioprop(folder, *slow, '--config.lr=0.01')
        assert done.returncode == 0, done.stderr
    assert (workdir / 'abandoned-1' / 'metrics.jsonl').exists()
    one, two = (json.loads((folder / 'summary.json').read_text()) for folder in (workdir, calm))
    assert without_times(one) == without_times(two)
    refused(bioprop(workdir, *slow, '--config.lr=0.02'), 'lr: 0.01 -> 0.02')


def test_lost_files_are_named(finished, tmp_path):
    workdir = tmp_path / 'copy'
    shutil.copytree(finished[0], workdir)
    (workdir / 'metrics.jsonl').write_text('')
    refused(bioprop(workdir), 'metrics.jsonl lacks records')
    shutil.copy(finished[0] / 'metrics.jsonl', workdir)
    (workdir / 'config.json').write_text('{')
    refused(bioprop(workdir), 'config.json is damaged')


def numpy_scores(checkpoint, data, part):
    """(mean cross-entropy, error in percent) of a checkpoint, recomputed in NumPy."""
    restored = ocp.StandardCheckpointer().restore(checkpoint / 'default')
    forward = jax.tree.map(np.asarray, restored['weights']['forward'])
    images, labels = data.parts[part]
    h = ((images - data.mean) / data.std).reshape(len(images), -1)
    for params in forward[:-1]:
        h = np.tanh(h @ params['kernel'] + params['bias'])
    logits = h @ forward[-1]['kernel'] + forward[-1]['bias']
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    return losses.mean(), 100 * np.mean(np.argmax(logits, axis=-1) != labels)


def test_train_error_is_that_of_the_best_weights(finished):
    summary = json.loads((finished[0] / 'summary.json').read_text())
    best = finished[0] / 'checkpoints' / str(9 * summary['best_epoch'])
    data = sets.load('mnist_mini', 0.1)
    for part in ('train', 'validation'):
        _, error = numpy_scores(best, data, part)
        np.testing.assert_allclose(summary[f'{part}_error'], error, atol=0.1)


def test_cifar10_trains_on_augmented_images_and_is_scored_on_those_of_the_set(tmp_path):
    write_set(tmp_path, 'cifar10', '3.0.2', 'array_record', channels=3)
    workdir, small = tmp_path / 'run', ('--config.dataset=cifar10', '--config.batch_size=15')
    where = f'--config.data_dir={tmp_path}'
    done = bioprop(workdir, *small, where, config='configs/cifar10_bp.py')
    assert done.returncode == 0, done.stderr
    assert json.loads((workdir / 'config.json').read_text())['config']['augment']
    records = list(map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines()))
    assert [r['kind'] for r in records] == ['train', 'eval'] * 2
    data = sets.load('cifar10', 0.1, str(tmp_path))
    for part in ('train', 'validation', 'test'):
        scores = numpy_scores(workdir / 'checkpoints' / '6', data, part)
        found = [records[-1][f'{part}_{name}'] for name in ('loss', 'error')]
        np.testing.assert_allclose(found, scores, rtol=1e-4)
    summary = json.loads((workdir / 'summary.json').read_text())
    assert summary['train_error'] == records[2 * summary['best_epoch'] - 1]['train_error']


@pytest.mark.parametrize(
    ('rule', 'net', 'schedule'),
    [full('dtp', 'lc', 'alternating'), ('ao_sdtp', 'conv', 'parallel')],
)
def test_local_nets_train_on_cifar10(rule, net, schedule, tmp_path):
    write_set(tmp_path, 'cifar10', '3.0.2', 'array_record', channels=3)
    arguments = f'net={net},schedule={schedule},hidden=((5,3,4),(3,4,2),6),epochs=2,batch_size=15'
    config = f'configs/cifar10_{rule}.py:{arguments}'
    where = f'--config.data_dir={tmp_path}'
    done = bioprop(tmp_path / 'run', where, config=config, small=())
    assert done.returncode == 0, done.stderr
    assert f'{net}: 32x32x3 -> 8x8x3 -> 4x4x4 -> 6 -> 10' in done.stdout
    records = map(json.loads, (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines())
    phases = [record['phase'] for record in records if record['kind'] == 'train']
    assert phases == (['feedback', 'forward'] if schedule == 'alternating' else ['both']) * 2


def test_without_augmentation_the_training_set_is_scored_once_at_the_end(finished):
    lines = (finished[0] / 'metrics.jsonl').read_text().splitlines()
    assert not any('train_error' in json.loads(line) for line in lines)
    assert not json.loads((finished[0] / 'config.json').read_text())['config']['augment']


@pytest.mark.full
def test_several_devices_give_the_same_run(finished, tmp_path):
    """Four devices, killed by nobody but run twice: the second time there is nothing to do."""
    for _ in range(2):
        done = bioprop(tmp_path / 'run', JAX_NUM_CPU_DEVICES='4')
        assert done.returncode == 0, done.stderr
    assert '4 x cpu' in done.stdout
    four, one = (
        json.loads((folder / 'summary.json').read_text())
        for folder in (tmp_path / 'run', finished[0])
    )
    for name in ('validation_error', 'best_test_error', 'train_error'):
        assert abs(four[name] - one[name]) < 1


@pytest.mark.parametrize('platform', ['rocm', 'nonsense'])
def test_a_platform_that_is_not_here_is_named(tmp_path, platform):
    refused(bioprop(tmp_path / 'run', JAX_PLATFORMS=platform), f'JAX_PLATFORMS={platform}', 'cpu')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'flags',
    [
        full({'JAX_DISABLE_JIT': '1', 'JAX_NUM_CPU_DEVICES': '2'}),  # one of which it takes
        {'JAX_NUMPY_DTYPE_PROMOTION': 'strict', 'JAX_NUMPY_RANK_PROMOTION': 'raise'},
        {'JAX_DEBUG_NANS': '1', 'JAX_NUMPY_DTYPE_PROMOTION': 'strict', 'JAX_ENABLE_X64': '1'},
    ],
    ids=' '.join,
)
def test_jaxs_flags_for_finding_faults_change_no_run(finished, tmp_path, flags):
    """But for rounding: one epoch of nine steps."""
    done = bioprop(tmp_path / 'run', '--config.epochs=1', **flags)
    assert done.returncode == 0, done.stderr
    losses = [
        json.loads((folder / 'metrics.jsonl').read_text().splitlines()[0])['loss']
        for folder in (tmp_path / 'run', finished[0])
    ]
    precision = 0.2 if 'JAX_ENABLE_X64' in flags else 1e-5  # other random numbers
    np.testing.assert_allclose(*losses, rtol=precision)


def test_autoencoder_reports_losses(tmp_path):
    done = bioprop(tmp_path / 'run', '--config.loss=reconstruction')
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
    # The mean square of MNIST's pixels is 0.10; sigmoid(0) = 1/2 everywhere gives 0.23.
    assert 0 < summary['test_loss_at_best_validation'] < 0.23
    assert not any(name.endswith('_error') for name in summary)


def test_help_helps():
    done = subprocess.run(
        [sys.executable, '-m', 'bioprop.main', '--help'], cwd=ROOT, capture_output=True, text=True
    )
    assert '--config=configs/' in done.stdout
    assert '--workdir' in done.stdout
