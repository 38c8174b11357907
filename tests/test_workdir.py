"""The owner of a workdir, and what decides whether a run in it goes on."""

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pytest

from bioprop.errors import UserError
from bioprop.records import conditions
from bioprop.records.locks import owned
from bioprop.records.workdir import default_workdir, opened, summary_of
from bioprop.running.train import train
from bioprop.settings import paper
from bioprop.settings.resolve import resolve

CONFIG = resolve(paper('mnist', 'bp', hidden=(16,), epochs=4))
ROOT = Path(__file__).parent.parent
DATA = {'version': '3.0.1', 'fingerprint': 'abc'}


def enter(workdir, config=CONFIG, data=DATA, overrides=()):
    """Opens the workdir as a run does that then ends."""
    with opened(workdir, config, list(overrides), data, workdir / 'checkpoints'):
        pass


def told(workdir):
    return json.loads((workdir / 'config.json').read_text())


def begun(workdir, config=CONFIG, step=7, **more):
    """A run that has saved a checkpoint."""
    enter(workdir, config, **more)
    (workdir / 'checkpoints' / str(step)).mkdir(parents=True)
    return workdir


# ------------------------------------------------------------------ one owner


def test_a_folder_has_one_owner_at_a_time(tmp_path):
    with owned(tmp_path / 'run'):
        holder = f'process {os.getpid()} on'
        with pytest.raises(UserError, match=f'in use by {holder}'), owned(tmp_path / 'run'):
            pass
    with owned(tmp_path / 'run'), owned(tmp_path / 'other'):
        pass


def test_what_another_trains_is_never_free_to_take_over(tmp_path):
    """It has saved nothing yet, or it has diverged before: its owner may be starting afresh."""
    for diverged in (False, True):
        with opened(tmp_path, CONFIG, [], DATA, tmp_path / 'checkpoints'):
            if diverged:
                (tmp_path / 'summary.json').write_text('{"diverged": true}')
            before = sorted(tmp_path.iterdir())
            with pytest.raises(UserError, match='in use by'):
                enter(tmp_path, CONFIG | {'lr': 0.5})
            assert sorted(tmp_path.iterdir()) == before


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def flock(file, flags):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', flock)
    with owned(tmp_path):
        assert 'nobody else' in capsys.readouterr().err


def test_another_run_takes_over_what_saved_nothing_and_the_lock_stays(tmp_path):
    enter(tmp_path)
    inode = (tmp_path / 'lock').stat().st_ino
    enter(tmp_path, CONFIG | {'lr': 0.5})
    assert (tmp_path / 'lock').stat().st_ino == inode
    assert told(tmp_path)['config']['lr'] == 0.5
    assert told(tmp_path / 'abandoned-1')['config']['lr'] == CONFIG['lr']


def test_a_run_of_an_earlier_bioprop_is_refused_and_kept(tmp_path):
    enter(tmp_path, CONFIG | {'rule_options': {}})
    before = (tmp_path / 'config.json').read_text()
    with pytest.raises(UserError, match='begun by an earlier bioprop'):
        enter(tmp_path)
    assert (tmp_path / 'config.json').read_text() == before


# ------------------------------------------------------------------ what decides a run


def test_each_configuration_has_a_default_workdir_of_its_own():
    changed = [CONFIG, CONFIG | {'lr': 1e-5}, CONFIG | {'seed': 1}, CONFIG | {'hidden': (17,)}]
    assert len({default_workdir(config) for config in changed}) == 4
    same = [CONFIG | more for more in ({'epochs': 9}, {'data_dir': '/x'}, {'wandb_project': 'x'})]
    assert {default_workdir(config) for config in same} == {default_workdir(CONFIG)}
    assert default_workdir(CONFIG).parent == Path('runs')


@pytest.fixture
def own_rule(tmp_path, monkeypatch):
    """A rule of the user's own, which imports a module beside it; and its configuration."""
    folder = tmp_path / 'code'
    (folder / 'helpers').mkdir(parents=True)
    (folder / 'helpers' / '__init__.py').write_text('')
    (folder / 'helpers' / 'sizes.py').write_text('SIZE = 1\n')
    source = 'import jax\nfrom helpers import sizes\nfrom bioprop import rules\nrule = rules.bp\n'
    (folder / 'rule_of_mine.py').write_text(source)
    (folder / 'unrelated.py').write_text('')
    monkeypatch.syspath_prepend(folder)
    yield folder, CONFIG | {'rule': 'rule_of_mine:rule'}
    for name in ('rule_of_mine', 'helpers', 'helpers.sizes'):
        sys.modules.pop(name, None)


def test_own_code_is_the_module_and_what_it_imports_of_the_users(own_rule):
    folder, config = own_rule
    code = conditions.own_code(config)
    assert code.keys() == {'rule_of_mine', 'helpers', 'helpers.sizes'}
    (folder / 'unrelated.py').write_text('X = 1\n')
    assert conditions.own_code(config) == code
    (folder / 'helpers' / 'sizes.py').write_text('SIZE = 2\n')
    changed = conditions.own_code(config)
    assert {name for name in code if code[name] != changed[name]} == {'helpers.sizes'}
    assert conditions.own_code(CONFIG) == {}


def test_code_in_an_installed_package_is_its_own_file_alone():
    assert conditions.own_code(CONFIG | {'rule': 'json:loads'}).keys() == {'json'}


def test_a_rule_that_was_edited_is_no_longer_that_run(own_rule, tmp_path):
    folder, config = own_rule
    workdir, default = begun(tmp_path / 'run', config), default_workdir(config)
    (workdir / 'summary.json').write_text('{"diverged": false}')
    enter(workdir, config)
    assert summary_of(workdir, config) == {'diverged': False}
    (folder / 'helpers' / 'sizes.py').write_text('SIZE = 2\n')
    with pytest.raises(UserError, match=r'code of helpers\.sizes'):
        enter(workdir, config)
    with pytest.raises(UserError, match='other code'):
        summary_of(workdir, config)
    assert default_workdir(config) != default


def test_other_data_of_the_same_name_is_refused(tmp_path):
    begun(tmp_path)
    enter(tmp_path, CONFIG | {'data_dir': '/moved/to'})
    with pytest.raises(UserError, match="data fingerprint: 'abc' -> 'xyz'"):
        enter(tmp_path, data=DATA | {'fingerprint': 'xyz'})


def test_flags_that_decide_numbers_are_compared(tmp_path, x64):
    begun(tmp_path)
    jax.config.update('jax_enable_x64', False)
    with pytest.raises(UserError, match='jax_enable_x64: True -> False'):
        enter(tmp_path)
    jax.config.update('jax_enable_x64', True)
    with jax.default_prng_impl('rbg'), pytest.raises(UserError, match='jax_default_prng_impl'):
        enter(tmp_path)
    enter(tmp_path)


def test_a_run_of_before_these_were_recorded_goes_on(tmp_path):
    begun(tmp_path)
    parts = ('config', 'overrides', 'versions', 'commit', 'hardware')
    old = {part: told(tmp_path)[part] for part in parts}
    (tmp_path / 'config.json').write_text(json.dumps(old))
    enter(tmp_path)
    with pytest.raises(UserError, match='lr'):
        enter(tmp_path, CONFIG | {'lr': 0.5})


@pytest.mark.parametrize('left', ['checkpoints/7/', 'metrics.jsonl'])
def test_a_run_without_its_configuration_is_refused(tmp_path, left):
    path = tmp_path / left
    path.mkdir(parents=True) if left.endswith('/') else path.write_text('{"step": 1}\n')
    with pytest.raises(UserError, match=r'config\.json is lost'):
        enter(tmp_path)
    assert not (tmp_path / 'config.json').exists()


def test_another_bioprop_is_said_once_and_recorded(tmp_path, monkeypatch, capsys):
    begun(tmp_path)
    enter(tmp_path)
    assert not capsys.readouterr().err
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / 'step.py').write_text('')
    monkeypatch.setattr(conditions, 'PACKAGE', tmp_path / 'package')
    enter(tmp_path)
    assert 'another bioprop' in capsys.readouterr().err
    enter(tmp_path)
    assert not capsys.readouterr().err
    (again,) = told(tmp_path)['continued']
    assert again['package'] != told(tmp_path)['package']


# ------------------------------------------------------------------ longer runs


def test_epochs_may_grow_and_not_shrink(tmp_path, capsys):
    begun(tmp_path)
    (tmp_path / 'summary.json').write_text('{"diverged": false}')
    with pytest.raises(UserError, match='epochs: 4 -> 3'):
        enter(tmp_path, CONFIG | {'epochs': 3})
    assert (tmp_path / 'summary.json').exists()
    enter(tmp_path, CONFIG | {'epochs': 6}, overrides=['--config.epochs=6'])
    assert '4 epochs become 6' in capsys.readouterr().err
    assert not (tmp_path / 'summary.json').exists()
    assert told(tmp_path)['config']['epochs'] == 6
    assert told(tmp_path)['overrides'] == ['--config.epochs=6']
    with pytest.raises(UserError, match='epochs: 6 -> 4'):
        enter(tmp_path)


@pytest.mark.full
def test_a_run_made_longer_is_the_longer_run(tmp_path):
    """Alternating: the passes of an epoch are counted from the start."""
    short = resolve(
        paper('mnist', 'dtp', dataset='mnist_mini', hidden=(8, 8), batch_size=400, epochs=1,
              schedule='alternating')
    )  # fmt: skip
    train(short, tmp_path / 'grown', [])
    for name in ('grown', 'calm'):
        train(short | {'epochs': 2}, tmp_path / name, [])
    grown, calm = (_records(tmp_path / name) for name in ('grown', 'calm'))
    assert grown == calm
    assert [record['epoch'] for record in calm if record['kind'] == 'eval'] == [1, 2]


def _records(workdir):
    records = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    times = ('seconds', 'examples_per_second')
    return [{k: v for k, v in record.items() if k not in times} for record in records]


# ------------------------------------------------------------------ two terminals


def command(workdir, lr):
    return [
        sys.executable, '-m', 'bioprop.main', '--config=configs/mnist_bp.py:dataset=mnist_mini',
        f'--workdir={workdir}', '--config.hidden=(8,)', '--config.epochs=6', '--config.seed=1',
        '--config.checkpoint_seconds=0', '--config.steps_per_call=5', f'--config.lr={lr}',
    ]  # fmt: skip


def terminal(workdir, lr, dice):
    """Starts the command until it ends or is refused, killed and requeued on the way."""
    for kill in (True, dice.random() < 0.7, False, False, False):
        run = subprocess.Popen(
            command(workdir, lr), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        if kill:
            time.sleep(dice.uniform(1, 8))
            run.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM]))
        _, error = run.communicate()
        assert run.returncode in (0, 1, -signal.SIGKILL, -signal.SIGTERM, 143), error
        assert 'Traceback' not in error
        if run.returncode == 0:
            return
        if run.returncode == 1:
            assert error.count('bioprop: ') == 1, error
            assert 'in use by process' in error or 'another configuration' in error, error
            time.sleep(dice.uniform(0, 3))


@pytest.mark.slow
def test_two_terminals_one_workdir_twenty_rounds(tmp_path):
    """With one setting or with two: what is left is a calm run, or was refused in one message."""
    rates = (0.001, 0.0003)
    for rate in rates:
        subprocess.run(command(tmp_path / str(rate), rate), cwd=ROOT, check=True)
    for number in range(20):
        workdir, dice = tmp_path / f'round_{number}', random.Random(number)
        pair = [rates[0], rates[number % 2]]
        with ThreadPoolExecutor() as pool:
            ends = [
                pool.submit(terminal, workdir, rate, random.Random(dice.random())) for rate in pair
            ]
        for end in ends:
            end.result()
        rate = told(workdir)['config']['lr']
        subprocess.run(command(workdir, rate), cwd=ROOT, check=True)
        calm = tmp_path / str(rate)
        assert _records(workdir) == _records(calm)
        one, two = (_summary(folder) for folder in (workdir, calm))
        assert one == two
        print(number, pair, rate, flush=True)


def _summary(workdir):
    summary = json.loads((workdir / 'summary.json').read_text())
    return {k: v for k, v in summary.items() if k not in ('seconds', 'examples_per_second')}
