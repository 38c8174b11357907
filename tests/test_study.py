"""Studies: no run lost and none doubled, whoever works on them and whoever is killed."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_stream import write_photos

from bioprop.errors import UserError
from bioprop.records.writers import write_json
from bioprop.settings import paper
from bioprop.settings.resolve import resolve
from bioprop.studies import study
from bioprop.studies.study import Study, run_name

ROOT = Path(__file__).parent.parent
TIMES = ('seconds', 'examples_per_second')
CONFIG = resolve(paper('mnist', 'bp', hidden=(16,)))
WIDER = CONFIG | {'hidden': (17,)}


def without_times(record):
    return {name: value for name, value in record.items() if name not in TIMES}


def seeds(number, config=CONFIG):
    return [config | {'seed': seed} for seed in range(number)]


class Killed(BaseException):
    """What ends a process in these tests."""


@pytest.fixture
def trained(monkeypatch):
    """The populations that were trained, by a fake that leaves what the true one leaves."""
    populations = []

    def train(members, workdirs, folder):
        populations.append([(config['hidden'][0], config['seed']) for config in members])
        (folder / 'checkpoints').mkdir(exist_ok=True)
        for config, workdir in zip(members, workdirs, strict=True):
            workdir.mkdir(parents=True, exist_ok=True)
            write_json(workdir / 'config.json', {'config': config})
            write_json(workdir / 'summary.json', {'seed': config['seed'], 'diverged': False})

    monkeypatch.setattr(study, 'train_population', train)
    monkeypatch.setattr(study, 'members_that_fit', lambda config: 100)
    return populations


def finished(folder):
    """(hidden, seed) of the lines of results.jsonl, and that nothing is left beside them."""
    lines = list(map(json.loads, (folder / 'results.jsonl').read_text().splitlines()))
    assert not list(folder.glob('populations/*/checkpoints'))
    assert [line['run'] for line in lines] == sorted(path.name for path in folder.glob('runs/*'))
    assert all(line['run'] == run_name(line['config']) for line in lines)
    assert all(line['summary']['seed'] == line['config']['seed'] for line in lines)
    return sorted((line['config']['hidden'][0], line['config']['seed']) for line in lines)


# ------------------------------------------------------------------ one process


def test_runs_are_trained_in_populations_of_one_program(tmp_path, trained):
    plan = [*seeds(3), *seeds(2, WIDER), *seeds(7)[3:], seeds(2)[1]]
    Study(tmp_path, {}, members=4).work(lambda result: plan)
    assert trained == [
        [(16, 0), (16, 1), (16, 2), (16, 3)], [(17, 0), (17, 1)], [(16, 4), (16, 5), (16, 6)],
    ]  # fmt: skip
    assert finished(tmp_path) == [*((16, seed) for seed in range(7)), (17, 0), (17, 1)]
    Study(tmp_path, {}, members=3).work(lambda result: plan)
    assert len(trained) == 3


def test_memory_bounds_a_population(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(study, 'members_that_fit', lambda config: 2)
    Study(tmp_path, {}).work(lambda result: seeds(5))
    assert list(map(len, trained)) == [2, 2, 1]


def test_equal_configurations_are_one_run(tmp_path, trained):
    """Whatever they were read from, and wherever their data lie."""
    moved = CONFIG | {'data_dir': '/elsewhere', 'checkpoint_seconds': 1}
    again = json.loads(json.dumps(CONFIG))
    assert len({run_name(config) for config in (CONFIG, moved, again)}) == 1
    assert len({run_name(config) for config in (*seeds(5), WIDER)}) == 6
    Study(tmp_path, {}).work(lambda result: [CONFIG, moved, again])
    assert trained == [[(16, CONFIG['seed'])]]


def test_a_plan_goes_on_with_its_results(tmp_path, trained):
    def plan(result):
        first = seeds(2)
        return seeds(4) if all(map(result, first)) else first

    Study(tmp_path, {}).work(plan)
    assert trained == [[(16, 0), (16, 1)], [(16, 2), (16, 3)]]


# ------------------------------------------------------------------ several processes


def claim(worker, runs):
    """The population that a worker gets, as seeds; None if it gets none."""
    with contextlib.ExitStack() as stack:
        folder = worker._claim(runs, stack)
        return folder and [config['seed'] for config in study._members(folder)]


def test_what_is_in_training_is_not_claimed(tmp_path, trained, monkeypatch):
    worker, other, claimed = Study(tmp_path, {}, 2), Study(tmp_path, {}, 2), []
    train = study.train_population

    def spied(members, workdirs, folder):
        claimed.append([claim(other, seeds(number)) for number in (0, 2, 4, 4)])
        train(members, workdirs, folder)

    monkeypatch.setattr(study, 'train_population', spied)
    worker.work(lambda result: seeds(2))
    # [2, 3] was left by whom claimed it: it is there to be taken, also by who asks for nothing.
    assert claimed == [[None, None, [2, 3], [2, 3]], [None] * 4]
    assert trained == [[(16, 0), (16, 1)], [(16, 2), (16, 3)]]


def test_a_population_that_was_left_is_taken_over_as_it_is(tmp_path, trained):
    assert claim(Study(tmp_path, {}, 3), seeds(6)) == [0, 1, 2]
    Study(tmp_path, {}, 2).work(lambda result: seeds(6))
    assert trained == [[(16, 0), (16, 1), (16, 2)], [(16, 3), (16, 4)], [(16, 5)]]
    assert finished(tmp_path) == [(16, seed) for seed in range(6)]


def test_a_population_that_ends_while_it_is_claimed_is_not_trained_again(
    tmp_path, trained, monkeypatch
):
    """Its owner marks it done after the other has looked, and before that one tries the lock."""
    worker, locked = Study(tmp_path, {}, 2), study.locked
    assert claim(worker, seeds(2)) == [0, 1]

    def late(path, wait=True):
        folder = path.parent
        if folder.parent.name == 'populations' and not wait:
            members = study._members(folder)
            study.train_population(members, list(map(worker.workdir, members)), folder)
            (folder / 'done').touch()
        return locked(path, wait)

    monkeypatch.setattr(study, 'locked', late)
    worker.work(lambda result: seeds(3))
    assert trained == [[(16, 0), (16, 1)], [(16, 2)]]


@pytest.mark.parametrize('where', ['write_whole', 'rmtree'])
def test_killed_after_the_last_summary_loses_no_result(where, tmp_path, trained, monkeypatch):
    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((study, where) if where == 'write_whole' else (shutil, where)), die)
        with pytest.raises(Killed):
            Study(tmp_path, {}).work(lambda result: seeds(2))
    Study(tmp_path, {}).work(lambda result: seeds(2))
    assert len((tmp_path / 'results.jsonl').read_text().splitlines()) == 2
    assert list(tmp_path.glob('populations/*/done'))


# ------------------------------------------------------------------ another study's folder


def test_another_purpose_is_refused(tmp_path):
    Study(tmp_path, {'search': {'hidden': (16,)}})
    before = (tmp_path / 'study.json').read_text()
    Study(tmp_path, {'search': {'hidden': [16]}})
    message = r'(?s)holds another study.*  search.hidden: \[16\] -> \[17\]\n.*another --study'
    with pytest.raises(UserError, match=message):
        Study(tmp_path, {'search': {'hidden': (17,)}})
    assert (tmp_path / 'study.json').read_text() == before


def test_a_study_of_an_earlier_bioprop_is_refused(tmp_path):
    earlier = {'search': {'config': {'rule_options': {}, 'inverse_lr': 0.1}}}
    (tmp_path / 'study.json').write_text(json.dumps(earlier))
    with pytest.raises(UserError, match='begun by an earlier bioprop'):
        Study(tmp_path, {'search': {'config': {'feedback_lr': 0.1}}})


def test_a_refusal_names_what_differs_and_not_more(tmp_path):
    Study(tmp_path, {'sweep': [{'lr': 1.0, 'seed': 0}, {'lr': 2.0}], 'epochs': None})
    with pytest.raises(UserError) as caught:
        Study(tmp_path, {'sweep': [{'lr': 1.0, 'seed': 0}, {'lr': 3.0}], 'seeds': None})
    changes = [line for line in str(caught.value).splitlines() if line.startswith('  ')]
    assert changes == [
        '  sweep.1.lr: 2.0 -> 3.0', '  epochs: null -> nothing', '  seeds: nothing -> null',
    ]  # fmt: skip
    # 21 rates and a seed differ
    with pytest.raises(UserError, match=r'settings:\n(  .*\n){8}  and 14 more\n'):
        Study(tmp_path, {'sweep': [{'lr': float(lr)} for lr in range(21)], 'epochs': None})


@pytest.mark.parametrize('content', [b'{"search": ', b'', b'\xff\xfe\x80'])
def test_a_damaged_study_is_named(content, tmp_path):
    (tmp_path / 'study.json').write_bytes(content)
    with pytest.raises(UserError, match=r'study.json is damaged: restore it'):
        Study(tmp_path, {})
    assert (tmp_path / 'study.json').read_bytes() == content


# ------------------------------------------------------------------ true processes


@pytest.fixture(scope='module')
def search():
    """Starts a search of halving with populations of two: 4 trials, 2 of them longer, 2 seeds."""
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true'}
    settings = {
        'dataset': 'mnist_mini', 'hidden': '(16,)', 'epochs': 3, 'batch_size': 500,
        'steps_per_call': 1, 'checkpoint_seconds': 0,
    }  # fmt: skip
    command = [
        sys.executable, '-m', 'experiments.search', '--config=configs/mnist_bp.py',
        *(f'--config.{key}={value}' for key, value in settings.items()),
        '--rungs=halving', '--configurations=4', '--members=2', '--seeds=2', '--cpu_devices=1',
    ]  # fmt: skip

    def start(folder, *arguments):
        return subprocess.Popen(
            [*command, f'--study={folder}', *arguments], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def end(process):
    """(exit status, the report that it printed, its errors)."""
    output, errors = process.communicate()
    report = [line for line in output.splitlines() if 'ETA' not in line]
    return process.returncode, '\n'.join(report), errors


def records(folder):
    """What each run left, but for times, by name."""
    return {
        path.parent.name: [without_times(json.loads(x)) for x in path.read_text().splitlines()]
        for path in folder.glob('runs/*/metrics.jsonl')
    }


def results(folder):
    lines = map(json.loads, (folder / 'results.jsonl').read_text().splitlines())
    return [line | {'summary': without_times(line['summary'])} for line in lines]


@pytest.fixture(scope='module')
def calm(search, tmp_path_factory):
    """The folder of a study by one process that nobody kills, and its report."""
    folder = tmp_path_factory.mktemp('calm')
    status, report, errors = end(search(folder))
    assert status == 0, errors
    assert len(results(folder)) == 4 + 2 + 2
    assert 'of 2 seeds' in report
    return folder, report


def checkpoints(folder):
    found = folder.glob('populations/*/checkpoints/[0-9]*')
    return [path for path in found if path.name.isdigit()]


def wait_for_checkpoints(folder, processes, saves):
    """Returns a little after so many checkpoints were seen in the folder; a trial saves 9."""
    seen = set()
    while len(seen) < saves:
        assert all(process.poll() is None for process in processes)
        seen |= set(checkpoints(folder))
        time.sleep(0.002)
    time.sleep(random.Random(saves).uniform(0, 0.1))


def assert_same_study(folder, report, calm):
    expected, expected_report = calm
    assert results(folder) == results(expected)
    assert records(folder) == records(expected)
    assert report == expected_report
    assert not list(folder.glob('populations/*/checkpoints'))


@pytest.mark.full
def test_of_two_processes_one_is_killed(search, calm, tmp_path):
    processes = [search(tmp_path), search(tmp_path)]
    wait_for_checkpoints(tmp_path, processes, 6)
    processes[0].send_signal(signal.SIGKILL)
    status, report, errors = end(processes[1])
    assert status == 0, errors
    assert_same_study(tmp_path, report, calm)
    assert end(processes[0])[0] == -signal.SIGKILL


@pytest.mark.full
def test_all_processes_are_killed_and_one_goes_on(search, calm, tmp_path):
    folder, lost = tmp_path / 'study', tmp_path / 'lost'
    processes = [search(folder), search(folder)]
    wait_for_checkpoints(folder, processes, 3)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        end(process)
    shutil.copytree(folder, lost)
    status, report, errors = end(search(folder))
    assert status == 0, errors
    assert_same_study(folder, report, calm)

    # -- What a folder that was tampered with says
    population = checkpoints(lost)[0].parent.parent
    members = json.loads((population / 'members.json').read_text())
    (lost / 'runs' / run_name(members[0]) / 'metrics.jsonl').unlink()
    assert_refused(search(lost), 'metrics.jsonl lacks records')
    assert_refused(search(lost, '--configurations=5'), 'holds another study')


def assert_refused(process, words):
    """Whether it ends in one message, without a traceback."""
    status, _, errors = end(process)
    assert status == 1
    assert errors.strip().startswith('bioprop: ')
    assert words in errors
    assert 'Traceback' not in errors


def test_runs_that_are_read_from_disk_are_trained_alone(tmp_path):
    """One of them diverges, and the other is trained all the same."""
    write_photos(tmp_path / 'data', 'array_record', {'train': (40, 32), 'validation': (6, 5)})
    config = resolve(
        paper(
            'imagenet2012', 'bp', dataset='photos', data_dir=str(tmp_path / 'data'), image_size=16,
            paper_dataset='imagenet', hidden=((3, 4, 2),), batch_size=16, eval_batch_size=16,
            validation_fraction=0.1, epochs=1,
        )
    )  # fmt: skip
    plan = [config, config | {'lr': 1e38}]
    made = Study(tmp_path / 'study', {})
    made.work(lambda result: plan)
    assert [made.result(each)['diverged'] for each in plan] == [False, True]
    assert made.result(config)['test_error_at_best_validation'] is not None
    assert not list((tmp_path / 'study').glob('runs/*/checkpoints'))
    assert len((tmp_path / 'study' / 'results.jsonl').read_text().splitlines()) == 2
