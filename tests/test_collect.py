"""Finished runs, gathered into one file."""

import json
import subprocess
import sys

import studies

from experiments.analysis.rows import weak_feedback
from experiments.pages import rules


def collect(*arguments):
    command = [sys.executable, '-m', 'experiments.collect', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_that_diverged_before_it_was_evaluated_has_no_last_error(tmp_path):
    studies.write(tmp_path, studies.config(), [], [], diverged=True)
    (run,) = tmp_path.glob('runs/*')
    config = json.loads((run / 'config.json').read_text())
    (run / 'config.json').write_text(json.dumps(config | {'overrides': []}))
    done = collect(f'--out={tmp_path / "out.json"}', run)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / 'out.json').read_text())
    assert (record['summary']['diverged'], record['last_test_error']) == (True, None)


def test_runs_are_gathered_and_an_unfinished_one_is_named(tmp_path):
    for seed, ended in ((1, True), (2, False)):
        studies.write(tmp_path, studies.config(seed=seed), [3.0, 2.0], [5.0, 4.0], ended=ended)
    finished = next(tmp_path.glob('runs/*/summary.json')).parent
    config = json.loads((finished / 'config.json').read_text())
    overrides = ['--config=configs/mnist_bp.py', '--config.lr=0.1', f'--workdir={finished}']
    (finished / 'config.json').write_text(json.dumps(config | {'overrides': overrides}))
    out = tmp_path / 'out.json'
    done = collect(f'--out={out}', finished)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(out.read_text())
    told = 'python -m bioprop.main --config=configs/mnist_bp.py --config.lr=0.1'
    assert record['command'] == told
    assert record['last_test_error'] == 4.0
    assert record['hparams'] == {'lr': 0.1}
    assert record['commit'] == studies.PROVENANCE['commit']

    out.unlink()
    (unfinished,) = set(tmp_path.glob('runs/*')) - {finished}
    done = collect(f'--out={out}', finished, unfinished)
    assert done.returncode != 0
    assert f'{unfinished} holds no finished run' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not out.exists()


def test_how_a_run_relaxed_is_kept(tmp_path):
    config = studies.config(rule='equilibrium_propagation', gamma=0.1, beta=0.5, free_steps=7)
    studies.write(tmp_path, config, [3.0], [4.0])
    (run,) = tmp_path.glob('runs/*')
    made = json.loads((run / 'config.json').read_text())
    (run / 'config.json').write_text(json.dumps(made | {'overrides': []}))
    measured = {'kind': 'diagnostics', 'step': 1, 'epoch': 1}
    with (run / 'metrics.jsonl').open('a') as file:
        for part, residual in (('validation', 2e-7), ('train', 0.1)):
            found = {
                'residual/free': residual,
                'residual/free/spread': 1.0,
                'spike_rate/total': 9.0,
            }
            file.write(json.dumps(measured | {'part': part} | found) + '\n')
    out = tmp_path / 'runs.json'
    done = collect(f'--out={out}', run)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(out.read_text())
    assert record['options'] == {'free_steps': 7}
    assert record['residual'] == {'free': 2e-7}
    assert record['spike_rate'] == {'total': 9.0}

    told = {'rule': 'equilibrium_propagation', 'net': 'fc', 'dataset': 'mnist', 'epochs': 2}
    told['examples_per_second'] = 1234.5
    out.write_text(json.dumps([record | {'summary': record['summary'] | told}]))
    lines = rules.page(out).splitlines()
    (row,) = [line for line in lines if line.startswith('| EP, weak feedback')]
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    expected = ['fc', '4.00 (2)', '0.1', '0.5', '', '', 'free_steps 7', '2e-07', '', 'relaxed']
    assert cells[1:] == expected
    (row,) = [line for line in lines if 'spikes a second, total' in line]
    place = lines.index(row)
    cells = [cell.strip() for cell in lines[place + 2].strip('|').split('|')]
    assert cells == ['EP', 'fc', '4.00 (2)', 'free_steps 7', '1,234', '9']


def test_feedback_is_weak_of_rules_that_relax_alone():
    """LRA has a gamma of its own."""
    assert weak_feedback('contrastive_hebbian', {'gamma': 0.5})
    assert not weak_feedback('contrastive_hebbian', {'gamma': 1.0})
    assert not weak_feedback('lra_fdbk', {'gamma': 0.5})
