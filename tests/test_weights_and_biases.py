"""Weights & Biases, offline: what its file holds is what metrics.jsonl and summary.json do."""

import json
import socket
import sys

import pytest
from programs import ROOT, Started, run_main
from test_population import make_config, train_together

from bioprop.errors import UserError
from bioprop.records.weights_and_biases import Tracker
from bioprop.running.train import train

BLOCK, HEAD = 2**15, 7  # bytes of the file's blocks, and before each part of a record
OFFLINE = {
    'WANDB_MODE': 'offline', 'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
}  # fmt: skip
SMALL = (
    '--config=configs/mnist_bp.py', '--config.dataset=mnist_mini', '--config.hidden=(8,8)',
    '--config.batch_size=500', '--config.wandb_project=rules', '--config.diagnostics=signal',
    '--config.diagnostics_every=4', '--config.epochs=1',
)  # fmt: skip


def command(workdir, *arguments):
    return run_main(*SMALL, f'--workdir={workdir}', *arguments, **OFFLINE)


def told(file):
    """What a run told W&B: its first record, {step: numbers}, its summary and its exit status.

    The file is a log as LevelDB has them: a record is in parts, none of which crosses a block.
    """
    from wandb.proto import wandb_internal_pb2 as pb

    data, place, whole, found = file.read_bytes(), HEAD, b'', []
    while place + HEAD <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        end = place + HEAD + int.from_bytes(data[place + 4 : place + 6], 'little')
        whole += data[place + HEAD : end]
        if data[place + 6] in (1, 4):  # the only part, or the last
            found.append(pb.Record.FromString(whole))
            whole = b''
        place = end
    (run,) = [each.run for each in found if each.HasField('run')]
    points = [values(each.history.item) for each in found if each.HasField('history')]
    summary = {}
    for each in found:
        summary |= values(each.summary.update)
    (end,) = [each.exit.exit_code for each in found if each.HasField('exit')]
    return run, {each.pop('_step'): curves(each) for each in points}, summary, end


def values(items):
    return {item.key or '/'.join(item.nested_key): json.loads(item.value_json) for item in items}


def curves(numbers):
    """Those of ours: W&B adds times, which begin with an underscore."""
    return {name: number for name, number in numbers.items() if not name.startswith('_')}


def recorded(workdir, after=0):
    """{step: numbers} of metrics.jsonl behind that step, by the names of TensorBoard's curves."""
    found = {}
    for record in map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines()):
        names = (record.pop('kind'), record.pop('phase', None), record.pop('part', None))
        curve, step = '/'.join(filter(None, names)), record.pop('step')
        if step > after:
            numbers = {f'{curve}/{name}': value for name, value in record.items()}
            found.setdefault(step, {}).update(numbers)
    return found


def files(workdir):
    return sorted(workdir.glob('wandb/offline-run-*/*.wandb'))


def test_it_is_told_what_the_files_hold_and_a_run_goes_on_as_the_same_one(tmp_path):
    workdir = tmp_path / 'digits'
    done = command(workdir)
    assert done.returncode == 0, done.stderr
    run, points, summary, end = told(*files(workdir))
    assert points == recorded(workdir)
    assert sorted(points) == [1, 5, 9]  # each fourth step, and the last of the epoch
    assert points[9].keys() >= {'train/forward/loss', 'eval/test_error', 'eval/epoch'}
    assert 'diagnostics/validation/signal_angle/layer_1' in points[9]
    left = json.loads((workdir / 'summary.json').read_text())
    assert left == {name: summary[name] for name in left}
    assert (run.project, run.display_name, end) == ('rules', 'digits', 0)
    config = json.loads((workdir / 'config.json').read_text())['config']
    settings = values(run.config.update)
    assert config == {name: settings[name] for name in config}

    done = command(workdir, '--config.epochs=2')
    assert done.returncode == 0, done.stderr
    again, points, summary, _ = told(files(workdir)[1])
    assert again.run_id == run.run_id
    assert again.resume
    assert points == recorded(workdir, after=9)
    assert summary['epochs'] == 2
    assert not (ROOT / 'wandb').exists()


@pytest.mark.full
def test_of_two_processes_the_first_one_tells(tmp_path):
    workdir = tmp_path / 'run'
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    team = (f'--coordinator=localhost:{port}', '--processes=2', f'--workdir={workdir}')
    processes = [
        Started(*SMALL, '--distributed', *team, f'--process={number}', **OFFLINE)
        for number in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=600)
        assert process.returncode == 0, error
    _, points, _, _ = told(*files(workdir))
    assert points == recorded(workdir)


def test_each_member_of_a_population_is_a_run_of_its_own(tmp_path, monkeypatch, quick):
    import wandb

    monkeypatch.setenv('WANDB_MODE', 'offline')
    config = make_config(epochs=1, batch_size=400, wandb_project='rules')
    workdirs, _ = train_together(tmp_path, [config, config | {'seed': 1}])
    wandb.teardown()
    runs = [told(*files(workdir)) for workdir in workdirs]
    assert [points for _, points, _, _ in runs] == list(map(recorded, workdirs))
    assert [run.display_name for run, _, _, _ in runs] == ['member0', 'member1']
    assert len({run.run_id for run, _, _, _ in runs}) == 2


def test_without_the_package_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(UserError, match=r"pip install 'bioprop\[wandb\]'"):
        train(make_config(wandb_project='rules'), tmp_path / 'run', [])
    assert not (tmp_path / 'run' / 'metrics.jsonl').exists()


def test_what_it_refuses_is_one_message(tmp_path):
    done = command(tmp_path, '--config.wandb_project=a/b')
    assert done.returncode == 1
    assert done.stderr.strip().startswith("bioprop: config.wandb_project='a/b': ")
    assert 'Traceback' not in done.stderr


class Failing:
    """A run of wandb's, at whose calls something is wrong."""

    def __init__(self):
        self.calls = 0

    def log(self, numbers, step):
        self.calls += 1
        raise ConnectionError('the service has gone')

    @property
    def summary(self):
        raise AssertionError('it is lost')

    def finish(self, exit_code):
        raise AssertionError('it is lost')


def test_a_failure_is_said_once_and_ends_nothing(capsys):
    run = Failing()
    tracker = Tracker(run)
    for step in (1, 2):
        tracker.write(step, {'loss': 1.0})
    tracker.finish({'diverged': False})
    tracker.close()
    assert run.calls == 1
    assert capsys.readouterr().err.count('the service has gone') == 1
