"""The study of scaling: rules beside backpropagation on nets of several depths and widths."""

import json
import os
import subprocess
import sys

import pytest
import studies

from bioprop.records import runs as read_runs
from bioprop.studies.study import run_name
from experiments.analysis import scaling
from experiments.analysis.rows import placed
from experiments.drawing import scaling as drawing

NETS = ([256], [256] * 3, [8] * 3)


def written(folder):
    """BP and FA on three nets, two seeds each: BP is at 2 and 3 %; FA above by seed and depth."""
    for hidden in NETS:
        for seed in (1, 2):
            bp = 1.0 + seed
            above = seed * len(hidden)
            for rule, error in (('bp', bp), ('fa', bp + above)):
                config = studies.config(rule=rule, hidden=hidden, seed=seed)
                studies.write(folder, config, [9.0], [error])
                if rule == 'fa':
                    looked(folder, config, 50.0 + seed)
    return placed(read_runs(folder))


def looked(folder, config, last):
    """Adds two looks at a run on validation images, the last one at this angle."""
    with (folder / 'runs' / run_name(config) / 'metrics.jsonl').open('a') as file:
        for part, step, angle in (
            ('validation', 20, last),
            ('validation', 10, 80),
            ('train', 30, 9),
        ):
            kind = {'kind': 'diagnostics', 'part': part, 'step': step, 'epoch': 1}
            angles = {
                'update_angle/kernel/layer_1': angle,
                'update_angle/kernel/total': 1.0,
                'update_angle/bias/layer_1': 2.0,
            }
            file.write(json.dumps(kind | angles) + '\n')


def test_a_row_is_of_a_rule_on_a_net_beside_backpropagation(tmp_path):
    rows = scaling.rows(written(tmp_path))
    assert [(row['rule'], row['depth'], row['width']) for row in rows] == [
        ('bp', 1, 256), ('bp', 3, 8), ('bp', 3, 256),
        ('fa', 1, 256), ('fa', 3, 8), ('fa', 3, 256),
    ]  # fmt: skip
    # By seed 3 and 6 above: their deviation is 3 / sqrt(2), whatever BP's own may be.
    assert rows[-1]['above_bp'] == pytest.approx(
        {'mean': 4.5, 'deviation': 3 / 2**0.5, 'seeds': 2}, abs=1e-9
    )
    assert rows[-1]['test']['mean'] == pytest.approx(7.0)
    assert rows[0]['above_bp']['mean'] == rows[0]['above_bp']['deviation'] == 0
    assert rows[-1]['update_angle']['mean'] == pytest.approx(51.5)
    assert rows[-1]['signal_angle'] is rows[0]['update_angle'] is None


def test_a_net_that_backpropagation_was_not_trained_on_has_no_difference(tmp_path):
    runs = written(tmp_path)
    left = runs[(runs.rule != 'bp') | (runs.seed == 2) & (runs.hidden != (256,))]
    of_one, of_none = (
        next(row for row in scaling.rows(left) if (row['rule'], row['depth']) == ('fa', depth))
        for depth in (3, 1)
    )
    assert of_none['above_bp'] is None
    assert of_one['above_bp'] == {'mean': 6.0, 'deviation': 0.0, 'seeds': 1}


def test_diverged_seeds_are_counted(tmp_path):
    for seed in (1, 2, 3):
        config = studies.config(hidden=[256], seed=seed)
        studies.write(tmp_path, config, [9.0], [2.0], diverged=seed > 1)
    (row,) = scaling.rows(placed(read_runs(tmp_path)))
    assert row['diverged'] == 2
    assert '2 diverged' in scaling.text([row])


def test_tables_and_axes_go_along_depth_and_width(tmp_path):
    rows = scaling.rows(written(tmp_path))
    fa = rows[3:]
    assert [row['depth'] for row in scaling.along(fa, 'depth')] == [1, 3]
    assert [row['width'] for row in scaling.along(fa, 'width')] == [8, 256]
    by_depth, by_width, *_ = (each for each in scaling.text(rows).split('\n\n') if '---' in each)
    assert by_depth.splitlines()[-1].split()[:5] == ['FA', 'feedback', '2', '1.50', '±']
    assert by_depth.splitlines()[0].split()[-2:] == ['1', '3']
    assert by_width.splitlines()[0].split()[-2:] == ['8', '256']
    axes = drawing.draw(rows, 'a title').axes
    lines = [[list(bars[0].get_xdata()) for bars in axis.containers] for axis in axes]
    # BP has no angles here, and neither rule one of signals.
    assert lines == [[[1, 3]] * 2, [[8, 256]] * 2, [], [], [[1, 3]], [[8, 256]]]


def test_rules_of_a_family_differ_in_more_than_their_colour(tmp_path):
    for rule in ('fa', 'usf', 'dfa', 'kolen_pollack'):
        studies.write(tmp_path, studies.config(rule=rule, hidden=[256]), [9.0], [2.0])
    figure = drawing.draw(scaling.rows(placed(read_runs(tmp_path))), 'a title')
    colours, markers = {}, {}
    for line, text in zip(figure.legends[0].legend_handles, figure.legends[0].texts, strict=True):
        colours[text.get_text()], markers[text.get_text()] = line.get_color(), line.get_marker()
    assert colours['FA'] == colours['uSF'] == colours['KP'] != colours['DFA']
    assert len({markers[name] for name in ('FA', 'uSF', 'KP')}) == 3


def told(*arguments):
    command = [sys.executable, '-m', 'experiments.scaling', '--cpu_devices=1', *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.full
def test_the_command_trains_what_it_shows_and_tells_it_without_training(tmp_path):
    study = tmp_path / 'study'
    arguments = [
        '--dataset=mnist_mini', '--rows=fa', '--depths=3', '--widths=256', '--epochs=1',
        '--seeds=1', f'--study={study}',
    ]  # fmt: skip
    first, second = told(*arguments), told(*arguments, '--finished', '--widths=8,256')
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    found = json.loads((study / 'scaling.json').read_text())
    bp, fa = found['scaling']
    assert (bp['rule'], fa['rule'], found['refused']) == ('bp', 'fa', [])
    assert bp['signal_angle']['mean'] == pytest.approx(0, abs=1)
    assert 45 < fa['signal_angle']['mean'] < 120
    assert fa['above_bp']['mean'] == pytest.approx(fa['test']['mean'] - bp['test']['mean'])
    assert len((study / 'results.jsonl').read_text().splitlines()) == 2  # a net on both axes is one
    start = first.stdout.index('test error above')
    assert first.stdout[start:] == second.stdout[second.stdout.index('test error above') :]
    assert {path.suffix for path in study.glob('scaling.*')} == {'.json', '.md', '.png', '.svg'}


def test_what_is_wrong_is_said_in_one_message(tmp_path):
    wrong = told('--rows=fb', f'--study={tmp_path}')
    assert wrong.returncode != 0
    assert "rule 'fb'" in wrong.stderr
    assert 'Traceback' not in wrong.stderr
