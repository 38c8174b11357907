"""A streamed run is the same on one device, on eight of one process, and on those of two."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from problems import PAPERS
from programs import Started
from test_stream import write_photos

from bioprop.training.parallel import MODES

pytestmark = pytest.mark.usefixtures('x64')  # what is read back, too
SPLITS = {'train': (40, 32), 'validation': (6, 5)}  # examples in each file
TIMES = ('seconds', 'examples_per_second')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    write_photos(folder, 'array_record', SPLITS)
    return folder


PHOTOS = (
    '--config.dataset=photos', '--config.paper_dataset=imagenet', '--config.image_size=16',
    '--config.batch_size=16', '--config.hidden=((3,4,2),(3,6,2),12)', '--config.epochs=2',
    '--config.validation_fraction=0.1', '--config.eval_batch_size=12', '--config.steps_per_call=3',
    '--config.diagnostics=update,signal,diversity', '--config.diagnostics_every=2',
)  # fmt: skip
IN_MEMORY = (
    '--config.dataset=mnist_mini', '--config.net=conv', '--config.hidden=((3,4,3),16)',
    '--config.batch_size=400', '--config.epochs=1', '--config.augment=True',
    '--config.schedule=alternating', '--config.diagnostics=signal', '--config.diagnostics_every=5',
)  # fmt: skip
# A quarter of the channels of the ImageNet net, on images of 64 pixels.
STAND_IN = (
    '--config.hidden=((9,12,4),(3,12,2),(5,24,1),(3,24,2),(3,48,1),(3,48,2),(3,96,1))',
    '--config.image_size=64', '--config.batch_size=64', '--config.epochs=1',
    '--config.validation_fraction=0.1', '--config.eval_batch_size=48', '--config.steps_per_call=2',
)  # fmt: skip


def start(data_dir, workdir, *options, devices=1, config='imagenet_ao_sdtp', settings=PHOTOS):
    """Starts main on a small net, in double precision."""
    return Started(
        f'--config=configs/{config}.py', f'--workdir={workdir}', f'--config.data_dir={data_dir}',
        *settings, '--config.checkpoint_seconds=0', *options,
        JAX_PLATFORMS='cpu', JAX_NUM_CPU_DEVICES=str(devices), JAX_ENABLE_X64='1',
        JAX_DISABLE_MOST_OPTIMIZATIONS='1',
    )  # fmt: skip


def start_two(data_dir, workdir, *options, **more):
    """Two processes of four devices each."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    team = ('--distributed', f'--coordinator=localhost:{port}', '--processes=2')
    return [
        start(data_dir, workdir, *team, f'--process={i}', *options, devices=4, **more)
        for i in range(2)
    ]


def finish(*processes, status=0):
    for process in processes:
        out, error = process.communicate(timeout=900)
        assert process.returncode == status, out + error
    return out, error


def outcome(workdir):
    """(state, records and summary without times) of a finished run."""
    folder = workdir / 'checkpoints'
    last = max(int(path.name) for path in folder.glob('*') if path.name.isdigit())
    checkpoint, reader = folder / str(last) / 'default', ocp.StandardCheckpointer()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = reader.restore(
        checkpoint,
        jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
            reader.metadata(checkpoint).item_metadata.tree,
        ),
    )
    state['key'] = jax.random.key_data(state['key'])
    records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    summary = json.loads((workdir / 'summary.json').read_text())
    told = [{k: v for k, v in each.items() if k not in TIMES} for each in (*records, summary)]
    return jax.tree.map(np.asarray, state), told


def assert_alike(one, two, measured=True):
    """measured: what diagnostics found is compared, too; of a batch in parts it is another part."""
    (state, told), (expected, expected_told) = outcome(one), outcome(two)
    if not measured:
        told, expected_told = (
            [each for each in them if each.get('kind') != 'diagnostics']
            for them in (told, expected_told)
        )
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    assert len(told) == len(expected_told)
    for a, b in zip(told, expected_told, strict=True):
        assert a == {
            name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            for name, value in b.items()
        }


@pytest.fixture(scope='module')
def alone(photos, tmp_path_factory):
    """The run on one device."""
    workdir = tmp_path_factory.mktemp('alone') / 'run'
    finish(start(photos, workdir))
    return workdir


def test_a_streamed_run_evaluates_every_image_once(alone, photos):
    """The errors are whole numbers of the 7 held-out and the 11 test images."""
    evaluations = [r for r in outcome(alone)[1][:-1] if r['kind'] == 'eval']
    assert len(evaluations) == 2
    for record in evaluations:
        for part, count in (('validation', 7), ('test', 11)):
            wrong = record[f'{part}_error'] * count / 100
            assert wrong == pytest.approx(round(wrong), abs=1e-9)
    assert evaluations[-1]['step'] == 2 * (65 // 16)


@pytest.mark.parametrize('mode', ['pmap', 'shard_map'])
@pytest.mark.full
def test_eight_devices_and_two_processes_of_four_equal_one_device(alone, photos, mode, tmp_path):
    chosen = f'--config.parallel={mode}'
    finish(start(photos, tmp_path / 'eight', chosen, devices=8))
    assert_alike(tmp_path / 'eight', alone)
    finish(*start_two(photos, tmp_path / 'two', chosen))
    assert_alike(tmp_path / 'two', alone)


@pytest.mark.full
def test_two_processes_take_their_shares_in_parts(alone, photos, tmp_path):
    finish(*start_two(photos, tmp_path / 'two', '--config.accumulate=2'))
    assert_alike(tmp_path / 'two', alone, measured=False)


@pytest.mark.parametrize('mode', ['shard_map', 'pmap'])
@pytest.mark.full
def test_a_set_in_memory_is_shared_by_two_processes_too(mode, tmp_path):
    arguments = {'config': 'mnist_dtp', 'settings': IN_MEMORY}
    finish(start('', tmp_path / 'alone', **arguments))
    finish(*start_two('', tmp_path / 'two', f'--config.parallel={mode}', **arguments))
    assert_alike(tmp_path / 'two', tmp_path / 'alone')


def wait_for(workdir, step, *processes):
    """Returns once a checkpoint of that step, or a later one, is there."""

    def steps():
        names = (path.name for path in (workdir / 'checkpoints').glob('*'))
        return [int(name) for name in names if name.isdigit()]

    while max(steps(), default=0) < step:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)


LONG = ('--config.epochs=100', '--config.checkpoint_seconds=1000', '--config.eval_every=100')


@pytest.fixture(scope='module')
def calm(photos, tmp_path_factory):
    """A long run that nobody disturbs."""
    workdir = tmp_path_factory.mktemp('calm') / 'run'
    finish(start(photos, workdir, *LONG))
    return workdir


def tell_to_end(workdir, *processes):
    """SIGTERM to the last of them, once the first records are there; returns what it says."""
    records = workdir / 'metrics.jsonl'
    while not records.exists() or not records.stat().st_size:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    processes[-1].send_signal(signal.SIGTERM)
    _, error = finish(*processes, status=143)
    assert 'told to end; saved at step' in error
    assert 'Traceback' not in error


def test_told_to_end_it_saves_and_goes_on_bit_for_bit(calm, photos, tmp_path):
    tell_to_end(tmp_path / 'run', start(photos, tmp_path / 'run', *LONG))
    out, _ = finish(start(photos, tmp_path / 'run', *LONG))
    assert 'resumed at step' in out
    (state, told), (expected, expected_told) = outcome(tmp_path / 'run'), outcome(calm)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert told == expected_told


@pytest.mark.full
def test_two_processes_told_to_end_save_at_one_step_and_go_on(photos, tmp_path):
    long = (*LONG, '--config.epochs=8')  # they are slow: they wait for one another in each step
    finish(start(photos, tmp_path / 'calm', *long))
    tell_to_end(tmp_path / 'run', *start_two(photos, tmp_path / 'run', *long))
    finish(*start_two(photos, tmp_path / 'run', *long))
    assert_alike(tmp_path / 'run', tmp_path / 'calm')


@pytest.mark.slow
@pytest.mark.parametrize('rule', PAPERS)
def test_the_reduced_imagenet_net_is_the_same_everywhere(rule, tmp_path):
    """On a copy of imagenet2012 in TFDS_DATA_DIR: every rule, devices, processes, a kill."""
    data_dir = os.environ.get('TFDS_DATA_DIR', '')
    if not (Path(data_dir) / 'imagenet2012').exists():
        pytest.skip('TFDS_DATA_DIR has no imagenet2012')
    arguments = {'config': f'imagenet_{rule}', 'settings': STAND_IN}
    alone = tmp_path / 'alone'
    finish(start(data_dir, alone, **arguments))
    killed = tmp_path / 'killed'
    process = start(data_dir, killed, **arguments)
    wait_for(killed, 2, process)
    process.kill()
    process.communicate()
    out, _ = finish(start(data_dir, killed, **arguments))
    assert 'resumed at step' in out
    (state, told), (expected, expected_told) = outcome(killed), outcome(alone)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert told == expected_told
    for mode in MODES:
        chosen = f'--config.parallel={mode}'
        finish(start(data_dir, tmp_path / f'eight_{mode}', chosen, devices=8, **arguments))
        assert_alike(tmp_path / f'eight_{mode}', alone)
        finish(*start_two(data_dir, tmp_path / f'two_{mode}', chosen, **arguments))
        assert_alike(tmp_path / f'two_{mode}', alone)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_random_kills_change_nothing(photos, processes, tmp_path):
    """Twelve times, SIGKILL or SIGTERM, to any of the processes, at any moment of their lives."""
    long = ('--config.epochs=80', '--config.steps_per_call=1', '--config.schedule=alternating')

    def begin(workdir):
        if processes == 1:
            return [start(photos, workdir, *long)]
        return start_two(photos, workdir, *long)

    calm, stormy = tmp_path / 'calm', tmp_path / 'stormy'
    began, first = time.monotonic(), begin(calm)
    wait_for(calm, 1, *first)
    ready = time.monotonic() - began
    finish(*first)
    dice = random.Random(processes)
    for kill in range(12):
        victims = begin(stormy)
        time.sleep(dice.uniform(0, 1.5 * ready))
        victim = dice.choice(victims)
        assert victim.poll() is None, 'it ended before it could be killed'
        victim.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM]))
        for process in victims:
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:  # what a launcher does when one of them is gone
                process.kill()
                process.communicate()
        print(kill, [process.returncode for process in victims], flush=True)
    finish(*begin(stormy))
    assert_alike(stormy, calm)
