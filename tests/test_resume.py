"""Killed at random moments and resumed equals never killed, bit for bit."""

import json
import os
import random
import signal
import subprocess
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from problems import full
from programs import Started, run_main

from bioprop.records.checkpoint import Checkpoints

QUICK = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}  # compiles faster
TIMES = ('seconds', 'examples_per_second')


CONFIGS = {
    **{
        schedule: f'mnist_dtp.py:schedule={schedule},feedback_weight_decay=0.001'
        for schedule in ('parallel', 'alternating', 'alternating_step')
    },
    'own inference': 'mnist.py:rule=equilibrium_propagation,free_steps=4,nudged_steps=3',
    'pretraining': 'mnist_dtp.py:feedback_pretraining=1,feedback_steps=2,feedback_passes=1',
}


def arguments(workdir, kind):
    return [
        f'--config=configs/{CONFIGS[kind]}', f'--workdir={workdir}',
        '--config.dataset=mnist_mini', '--config.hidden=(32,32,32)', '--config.epochs=3',
        '--config.batch_size=50', '--config.steps_per_call=30', '--config.checkpoint_seconds=0',
        f'--config.augment={kind != "parallel"}',
    ]  # fmt: skip


def kill_when(run, workdir, reached, delay):
    """SIGKILLs the process a little after it has brought metrics.jsonl to that many lines.

    A process that resumes replaces the file before it adds to it, hence the inode.
    """
    path = workdir / 'metrics.jsonl'
    before = path.stat().st_ino if path.exists() else None

    def lines():
        if not path.exists() or path.stat().st_ino == before:
            return 0
        return len(path.read_text().splitlines())

    while lines() < reached:
        assert run.poll() is None, 'it ended before it could be killed'
        time.sleep(0.002)
    time.sleep(delay)
    assert run.poll() is None, 'it ended before it could be killed'
    run.send_signal(signal.SIGKILL)


def without_times(record):
    return {name: value for name, value in record.items() if name not in TIMES}


def outcome(workdir):
    """(weights and moments, records, summary) of a finished run."""
    folder = workdir / 'checkpoints'
    last = max(int(path.name) for path in folder.glob('[0-9]*'))
    state = ocp.StandardCheckpointer().restore(folder / str(last) / 'default')
    state['key'] = jax.random.key_data(state['key'])
    records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    summary = json.loads((workdir / 'summary.json').read_text())
    return state, [without_times(record) for record in records], without_times(summary)


USUAL = ('own inference',)


@pytest.mark.parametrize('kind', [kind if kind in USUAL else full(kind) for kind in CONFIGS])
def test_killed_and_resumed_equals_never_killed(tmp_path, kind):
    calm, stormy = tmp_path / 'calm', tmp_path / 'stormy'
    done = run_main(*arguments(calm, kind), **QUICK)
    assert done.returncode == 0, done.stderr
    total = len((calm / 'metrics.jsonl').read_text().splitlines())

    # Two kills at random; in the alternating schedule one in each of the first epoch's passes.
    dice = random.Random(kind)
    kills = sorted(dice.randrange(1, total - 2) for _ in range(2))
    if kind == 'alternating':
        kills = [dice.randrange(1, 3), dice.randrange(4, 6)]
    for reached in kills:
        run = Started(*arguments(stormy, kind), **QUICK)
        kill_when(run, stormy, reached, dice.uniform(0, 0.02))
        run.communicate()
        assert run.returncode == -signal.SIGKILL
    done = run_main(*arguments(stormy, kind), **QUICK)
    assert done.returncode == 0, done.stderr
    assert 'resumed at step' in done.stdout

    (state, *rest), (expected, *expected_rest) = outcome(stormy), outcome(calm)
    assert rest == expected_rest
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def small_disk(folder, megabytes):
    """Mounts a small file system; skips where that is not allowed."""
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}M', 'tmpfs', str(folder)]
    if os.name != 'posix' or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('cannot mount a small file system here')


def test_full_disk_stops_with_a_message_and_loses_nothing(tmp_path):
    disk = tmp_path / 'disk'
    small_disk(disk, 4)
    try:
        run = arguments(disk / 'run', 'alternating')
        (disk / 'ballast').write_bytes(bytes(2_000_000))
        done = run_main(*run, **QUICK)
        assert done.returncode == 1
        assert done.stderr.strip().startswith('bioprop: the disk of')
        assert 'Traceback' not in done.stderr
        subprocess.run(['mount', '-o', 'remount,size=64M', disk], check=True)
        done = run_main(*run, **QUICK)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(['umount', disk], check=True)


def test_the_best_checkpoint_outlives_the_process_that_saved_it(tmp_path):
    state = {'w': jax.numpy.ones(3)}
    for saves in ([(1, 5.0), (2, 7.0)], [(3, None), (4, None), (5, 5.0)]):
        checkpoints = Checkpoints(tmp_path / 'checkpoints')
        for step, rank in saves:
            checkpoints.save(step, state, rank)
        checkpoints.wait()
        checkpoints.close()
    kept = {int(path.name) for path in (tmp_path / 'checkpoints').iterdir()}
    assert kept == {1, 4, 5}  # the first of equals, and the last two
