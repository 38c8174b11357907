"""The leaderboard: one protocol for all rules, in one table."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import studies

from bioprop.records import runs as read_runs
from experiments.analysis import leaders
from experiments.analysis.rows import placed


def written(folder):
    """A study of BP with three trials, one of them diverged, and a winner of two seeds."""
    for lr, error in ((0.1, 5.0), (0.2, 4.2), (0.3, 4.0)):
        studies.write(folder, studies.config(lr=lr, epochs=1), [9.0], [error], diverged=lr == 0.3)
    # A second rung of one trial makes none of the first nearer or farther.
    studies.write(folder, studies.config(lr=0.2, epochs=2), [9.0] * 2, [4.2, 1.0])
    for seed, errors in ((2, (5.0, 1.5, 1.0)), (3, (1.9, 1.8, 2.0))):
        studies.write(folder, studies.config(lr=0.2, epochs=3, seed=seed), [9.0] * 3, errors)
    return placed(read_runs(folder), searched=True)


def test_a_row_is_of_the_winner_and_of_its_search(tmp_path):
    (row,) = leaders.rows(written(tmp_path), {'bp': 1.0})
    assert row['test'] == pytest.approx(
        {'mean': 1.4, 'deviation': 0.8 / 2**0.5, 'seeds': 2}, abs=1e-9
    )
    # Validation errors are one above: 6, 2.5 and 2.9 for seeds 2 (epoch 2) and 3 (epoch 1).
    assert row['epochs_to_good']['mean'] == pytest.approx(1.5)
    assert (row['trials'], row['near'], row['diverged']) == (
        3,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    )
    assert [each['error'] for each in row['published']] == [1.48]  # the paper's table 1
    assert (row['epochs'], row['winner']['lr'], row['update_angle']) == (3, 0.2, None)
    deviations = [3.1 / 2**0.5, 0.3 / 2**0.5, 1.0 / 2**0.5]
    assert row['curve']['epoch'] == [1, 2, 3]
    assert row['curve']['mean'] == pytest.approx([4.45, 2.65, 2.5])
    assert row['curve']['deviation'] == pytest.approx(deviations, abs=5e-4)


def test_rows_stand_in_the_order_of_their_errors(tmp_path):
    for rule, error in (('fa', 3.0), ('bp', 4.0), ('dfa', None)):
        errors = [] if error is None else [error, error]
        config = studies.config(rule=rule, lr=0.2)
        studies.write(tmp_path, config | {'seed': 2}, errors, errors, diverged=error is None)
        studies.write(tmp_path, config, errors, errors, diverged=error is None)
    runs = placed(read_runs(tmp_path), searched=True)
    rows = leaders.rows(runs, dict.fromkeys(('bp', 'fa', 'dfa'), 1.0))
    assert [row['rule'] for row in rows] == ['fa', 'bp', 'dfa']
    told = leaders.text(rows)
    assert [told.index(name) for name in ('FA', 'BP  ', 'DFA')] == sorted(
        told.index(name) for name in ('FA', 'BP  ', 'DFA')
    )


def test_a_rule_of_many_products_gets_fewer_epochs():
    assert [leaders.share_of(work) for work in (0.8, 10.0, 20.0)] == [1.0, 1.0, 0.5]


@pytest.mark.full
def test_the_command_trains_what_it_shows_and_says_it_again(tmp_path):
    command = [
        sys.executable, '-m', 'experiments.leaderboard', '--panel=mnist_mini_fc', '--rows=bp,dfa',
        '--configurations=2', '--search_epochs=1', '--epochs=1', '--seeds=2',
        '--settings=hidden=8', f'--study={tmp_path / "study"}', '--cpu_devices=1',
    ]  # fmt: skip
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        for _ in range(2)
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    found = json.loads((tmp_path / 'study' / 'leaderboard.json').read_text())
    assert {row['rule'] for row in found['rows']} == {'bp', 'dfa'}
    for row in found['rows']:
        assert (row['test']['seeds'], row['trials'], row['epochs']) == (2, 2, 1)
        assert row['update_angle']['mean'] == pytest.approx(
            0 if row['rule'] == 'bp' else 60, abs=40
        )
    assert (
        first.stdout[first.stdout.index('rule ') :] == second.stdout[second.stdout.index('rule ') :]
    )
    ended = pd.read_json(tmp_path / 'study' / 'results.jsonl', lines=True)
    assert len(ended) == 2 * (2 + 2)

    # Without the summary of one of its winner's seeds BP has not been run to its end.
    (last,) = (
        each.run
        for each in ended.itertuples()
        if (each.config['rule'], each.config['seed']) == ('bp', 2)
    )
    won = tmp_path / 'study' / 'runs' / last
    (won / 'summary.json').unlink()
    subprocess.run([*command, '--finished'], check=True, env=dict(os.environ))
    found = json.loads((tmp_path / 'study' / 'leaderboard.json').read_text())
    assert [row['rule'] for row in found['rows']] == ['dfa']
    assert found['refused'] == {'bp': 'not run to its end'}
    assert '--finished' not in found['command']
    assert not (won / 'summary.json').exists()

    wrong = subprocess.run([*command, '--rows=bq'], capture_output=True, text=True, check=False)
    assert wrong.returncode != 0
    assert "rule 'bq'" in wrong.stderr
    assert 'Traceback' not in wrong.stderr
