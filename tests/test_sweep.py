"""A config file's sweep: trained, averaged, printed as commands, refused where it is wrong."""

import json
import math
import subprocess
import sys

import pandas as pd
import pytest

from bioprop.studies.study import run_name
from experiments.analysis.averages import averages, text
from experiments.publish import filled

CONFIG = """
from bioprop.settings import paper

def get_config(arguments=''):
    return paper('mnist', 'bp', arguments, dataset='mnist_mini', hidden=(8,), batch_size=500)

def sweep():
    return {sweep}
"""


@pytest.fixture
def launch(tmp_path):
    """Runs the launcher on a config file whose sweep() returns what the text says."""

    def run(sweep, *arguments):
        path = tmp_path / 'mine.py'
        path.write_text(CONFIG.format(sweep=sweep))
        command = (sys.executable, '-m', 'experiments.sweep', f'--config={path}', *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.full
def test_entries_of_several_programs_are_trained_each_once(launch, tmp_path):
    study = tmp_path / 'study'
    sweep = "[{'lr': 1e-3}, {'lr': 1e-2}, {'hidden': (4,)}, {'lr': 1e-3}]"
    done = launch(sweep, '--config.epochs=2', f'--study={study}', '--cpu_devices=1')
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (study / 'results.jsonl').read_text().splitlines()]
    changed = sorted((line['config']['hidden'], line['config']['lr']) for line in lines)
    assert changed == [([4], 0.000152), ([8], 0.001), ([8], 0.01)]
    assert all(line['summary']['epochs'] == 2 for line in lines)
    assert len(list((study / 'populations').iterdir())) == 2
    errors = {
        (tuple(line['config']['hidden']), line['config']['lr']): line['summary']['validation_error']
        for line in lines
    }
    made = json.loads((study / 'table.json').read_text())
    assert [
        (record['changes'], record['scores']['validation_error']['mean'])
        for record in made['averages']
    ] == [
        ({'lr': 1e-3}, errors[(8,), 1e-3]),
        ({'lr': 1e-2}, errors[(8,), 1e-2]),
        ({'hidden': [4]}, errors[(4,), 0.000152]),
    ]
    again = launch(sweep, '--config.epochs=2', f'--study={study}', '--cpu_devices=1')
    assert 'epoch 1' not in again.stdout  # there is nothing left to do
    page = filled('<!-- study/table.json -->\n<!-- end -->', study.parent)
    assert (study / 'table.md').read_text() in page
    assert made['command'] in page


def test_averages_are_over_seeds_and_count_a_run_once():
    entries = [{'lr': lr, 'seed': seed} for lr, seed in ((1, 0), (1, 1), (2, 0), (2, 1), (1, 0))]
    configs = [entry | {'rule': 'bp', 'schedule': 'parallel', 'net': 'fc'} for entry in entries]
    errors = {(1, 0): 2.0, (1, 1): 5.0, (2, 0): 3.0, (2, 1): None}
    names = list(map(run_name, configs))
    runs = pd.DataFrame([
        {
            'name': name,
            'diverged': errors[config['lr'], config['seed']] is None,
            'best_test_error': errors[config['lr'], config['seed']],
            'validation_loss': 0.00125,
        }
        for name, config in dict(zip(names, configs, strict=True)).items()
    ])  # fmt: skip
    first, second = averages(entries, names, runs)
    assert (first['changes'], first['seeds'], first['diverged']) == ({'lr': 1}, 2, 0)
    assert list(first['scores']) == ['best_test_error', 'validation_loss']
    assert 'angles' not in first
    deviation = pytest.approx(3 / math.sqrt(2))
    assert first['scores']['best_test_error'] == {'mean': 3.5, 'deviation': deviation, 'seeds': 2}
    assert (second['seeds'], second['diverged']) == (2, 1)
    assert second['scores']['best_test_error'] == {'mean': 3.0, 'deviation': 0.0, 'seeds': 1}
    header, _, one, two = text([first, second], 'github').splitlines()
    assert [cell.strip() for cell in header.split('|')[1:-1]] == [
        'lr', 'seeds', 'diverged', 'best test error', 'validation loss',
    ]  # fmt: skip
    assert '3.50 ± 2.12' in one
    assert '0.00125 ± 0.00000' in one
    assert '3.00 ' in two


def test_angles_stand_beside_scores_and_what_is_one_in_all_entries_does_not():
    runs = pd.DataFrame({'name': ['a', 'b', 'c'], 'diverged': False, 'test_error': [1.0, 2.0, 3.0]})
    entries = [{'rule': 'bp'}, {'rule': 'fa', 'seed': 0}, {'rule': 'fa', 'seed': 1}]
    entries = [entry | {'lr': 1} for entry in entries]
    measured = pd.DataFrame({'signal_angle/total': [80.0, 60.0]}, index=['b', 'c'])
    alone, both = averages(entries, ['a', 'b', 'c'], runs, measured)
    assert 'angles' not in alone
    assert both['angles']['signal_angle/total']['mean'] == 70
    header, _, first, second = text([alone, both], 'github').splitlines()
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in (header, first, second)]
    assert cells[0] == ['rule', 'seeds', 'diverged', 'test error', 'signal angle/total']
    assert [row[-1] for row in cells[1:]] == ['-', '70 ± 14']


def test_commands_are_those_of_the_runs_alone(launch, tmp_path):
    done = launch("[{'lr': 1e-3, 'hidden': (4, 4)}]", '--config.epochs=1', '--commands')
    (line,) = done.stdout.splitlines()
    assert line.startswith(f'python -m bioprop.main --config={tmp_path / "mine.py"} ')
    command = line.replace('python', sys.executable, 1).rpartition('--workdir=')[0]
    workdir = tmp_path / 'alone'
    subprocess.run(f'{command} --workdir={workdir}', shell=True, check=True, capture_output=True)
    config = json.loads((workdir / 'config.json').read_text())['config']
    assert (config['lr'], config['hidden'], config['epochs']) == (0.001, [4, 4], 1)


@pytest.mark.parametrize(
    ('sweep', 'message'),
    [
        ("[{'lrr': 1e-3}]", 'lrr'),
        ("[{'lr': 'fast'}]", 'config.lr'),
        ("[{'lr': -1.0}]", 'config.lr'),
        ("{'lr': 1e-3}", 'list of dictionaries'),
        ('[]', 'list of dictionaries'),
    ],
)
def test_a_wrong_sweep_ends_in_one_message(launch, tmp_path, sweep, message):
    done = launch(sweep, f'--study={tmp_path / "study"}')
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'study').exists()


def test_a_key_that_one_entry_alone_changes_has_a_column():
    record = {'seeds': 1, 'diverged': 0, 'scores': {}}
    told = text([record | {'changes': {'lr': 1}}, record | {'changes': {'beta1': 2}}], 'github')
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in told.splitlines()]
    assert [rows[0], *rows[2:]] == [
        ['lr', 'beta1', 'seeds', 'diverged'], ['1', '-', '1', '0'], ['-', '2', '1', '0'],
    ]  # fmt: skip
