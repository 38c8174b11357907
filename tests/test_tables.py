"""Rows, contrasts and files of the paper's tables, on results that are made up."""

import csv
import functools
import io
import json
import math
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from bioprop.errors import UserError
from bioprop.records.spreads import welch
from bioprop.records.writers import clock
from bioprop.settings import published
from bioprop.settings.resolve import hparams
from experiments import publish, table
from experiments.analysis import tables
from experiments.analysis.paper import CONTRASTS, row_configs
from experiments.analysis.rows import load, placed

ROOT = Path(__file__).parents[1]


def summary(test, diverged=False, **scores):
    scores = {'train_error': 1.0, 'validation_error': 2.0, 'best_test_error': test - 1} | scores
    return scores | {
        'test_error_at_best_validation': test, 'diverged': diverged, 'seconds': 1800.0,
    }  # fmt: skip


def runs_of(name, trial, winners):
    """The runs of a search's one trial (seed 0) and of its winner's seeds 1, 2, ..."""
    settings = tables_rows('mnist', 'fc')[name]
    found = []
    for seed, ended in enumerate([trial, *winners]):
        config = settings | {'seed': seed, 'epochs': 9 if seed else 4}
        told = {'name': f'{name}_{seed}', 'folder': Path(), 'finished': ended is not None}
        found.append({'diverged': False, 'config': config, **config, **told, **(ended or {})})
    return found


tables_rows = functools.cache(row_configs)


def made(*runs, published=None):
    """The rows of a table, from the runs of each."""
    frame = pd.DataFrame([run for each in runs for run in each])
    return tables.rows(
        placed(frame, searched=True), list(tables_rows('mnist', 'fc')), published or {}
    )


def row_of(name, tests, published=None):
    runs = runs_of(name, summary(0.0), [summary(test) for test in tests])
    (row,) = made(runs, published={name: published} if published else None)
    return row


def test_a_row_has_mean_and_deviation_of_the_winners_seeds_alone():
    row = row_of('bp', [1.0, 2.0, 6.0], {'train': 0.0, 'test': 1.48})
    deviation = pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert row['test'] == {'mean': 3.0, 'deviation': deviation, 'seeds': 3}
    assert row['best_test']['mean'] == 2.0
    assert (row['paper_train'], row['paper_test']) == (0.0, 1.48)
    assert (row['runs'], row['diverged'], row['hours']) == (4, 0, 2.0)
    assert row['winner'] == hparams(tables_rows('mnist', 'fc')['bp'])


def test_a_row_in_progress_has_what_there_is():
    (row,) = made(runs_of('bp', None, []))
    assert (row['test'], row['runs'], row['hours'], row['winner']) == (None, 0, 0, None)
    (row,) = made(runs_of('bp', summary(1.0), [summary(2.0), None]))
    assert row['test'] == {'mean': 2.0, 'deviation': 0.0, 'seeds': 1}
    assert row['runs'] == 2


def test_a_seed_that_diverged_is_counted_and_its_missing_scores_are_left_out():
    lost = summary(2.0, diverged=True, train_error=None)
    (row,) = made(runs_of('bp', summary(1.0), [summary(4.0), lost]))
    assert (row['diverged'], row['train']['seeds'], row['test']['seeds']) == (1, 1, 2)


def test_contrasts_are_differences_of_means_with_welchs_error():
    fa = row_of('fa', [1.0, 3.0], {'test': 1.85})
    dfa = row_of('dfa', [5.0, 5.0, 8.0], {'test': 2.75})
    bp = row_of('bp', [1.0])  # one seed: no error bar, no contrast
    (found,) = tables.contrasts([fa, dfa, bp])
    assert found['name'] == 'fa - dfa'
    assert found['difference'] == pytest.approx(-4)
    assert found['standard_error'] == pytest.approx(math.sqrt(2 / 2 + 3 / 3))
    assert found['published'] == pytest.approx(-0.9)
    ours = stats.ttest_ind([1.0, 3.0], [5.0, 5.0, 8.0], equal_var=False).confidence_interval()
    assert (found['low'], found['high']) == pytest.approx(tuple(ours))
    assert '-4.00 ± 1.41' in tables.contrasts_text([found])


def test_where_nothing_varies_the_interval_is_a_point():
    same = pd.DataFrame({'mean': [1.0], 'deviation': [0.0], 'seeds': [2]})
    (found,) = welch(same, same.assign(mean=3.0)).to_dict('records')
    assert found == {'difference': -2, 'standard_error': 0, 'low': -2, 'high': -2}


def test_every_contrast_is_between_rows_of_the_paper():
    names = set(row_configs('mnist', 'lc'))
    assert all({a, b} <= names for _, a, b in CONTRASTS)
    assert names == set(published.tables()['table1']['mnist']['lc'])


def test_rows_are_the_papers_and_settings_hold_for_all():
    rows = row_configs('mnist', 'fc', 'epochs=7,hidden=(8,)')
    figures = published.tables()['table1']['mnist']['fc']
    assert set(rows) == {name for name, value in figures.items() if value}
    assert all(config['epochs'] == 7 for config in rows.values())
    assert rows['sdtp_alternating']['schedule'] == 'alternating'


def test_files_hold_the_same_numbers():
    rows = [row_of('bp', [1.0, 2.0], {'train': 0.0, 'test': 1.48}), row_of('fa', [])]
    lines = list(csv.DictReader(io.StringIO(tables.as_csv(rows))))
    assert [line['row'] for line in lines] == ['bp', 'fa']
    assert float(lines[0]['test']) == 1.5
    assert float(lines[0]['test_deviation']) == pytest.approx(math.sqrt(0.5))
    assert lines[1]['test'] == ''
    text = tables.text(rows, 'github')
    assert '1.50 ± 0.71' in text
    assert '1.48' in text


@pytest.mark.parametrize(
    ('seconds', 'shown'),
    [
        (0, '0 s'),
        (2e-5, '20 us'),
        (0.0421, '42.1 ms'),
        (0.9997, '1 s'),  # not 1e+03 ms
        (3.14159, '3.14 s'),
        (59.94, '59.9 s'),
        (59.97, '0:01:00'),
        (119.6, '0:02:00'),
        (3600 + 23 * 60 + 4.4, '1:23:04'),
        (100 * 3600, '100:00:00'),
    ],
)
def test_a_time_has_digits_however_short_it_is(seconds, shown):
    assert clock(seconds) == shown


def test_short_rows_have_a_time():
    rows = [row_of('bp', [1.0]) | {'hours': 4.2 / 3600}, row_of('fa', [1.0])]
    cells = [line.split()[-2:] for line in tables.text(rows).splitlines()[2:]]
    assert cells[0] == ['4.2', 's']
    assert cells[1][1] == '1:00:00'  # two runs of 1800 s


def test_rows_are_what_json_holds():
    rows = [row_of('bp', [1.0, 2.0], {'train': 0.0, 'test': 1.48}), row_of('fa', [])]
    read = json.loads(json.dumps(rows))
    assert read == rows
    assert tables.page(read, 'github') == tables.page(rows, 'github')


def test_a_page_shows_the_files_that_it_names(tmp_path):
    rows = [row_of('bp', [1.0, 2.0])]
    told = {'command': 'python -m x', 'commit': 'a' * 40, 'versions': {'jax': '1'}, 'hardware': 'h'}
    (tmp_path / 'x.json').write_text(json.dumps(told | {'rows': rows}))
    page = 'before\n<!-- x.json -->\nold\n<!-- end -->\nafter\n'
    once = publish.filled(page, tmp_path)
    assert 'old' not in once
    assert '1.50 ± 0.71' in once
    assert once.startswith('before\n<!-- x.json -->\n')
    assert once.endswith('<!-- end -->\nafter\n')
    assert publish.filled(once, tmp_path) == once


@pytest.mark.parametrize('path', ['README.md', 'RESULTS.md', 'docs/looking_inside.md'])
def test_a_page_of_results_is_what_its_files_make_it(path):
    page = (ROOT / path).read_text()
    assert publish.BLOCK.search(page)
    assert publish.filled(page, (ROOT / path).parent) == page


def test_winners_of_another_table_are_taken_over(tmp_path):
    path = tmp_path / 'table.json'
    won = {'rows': [{'name': 'bp', 'winner': {'lr': 0.5}}, {'name': 'fa', 'winner': None}]}
    path.write_text(json.dumps(won))
    rows = {'bp': {'lr': 0.1, 'epochs': 3}}
    assert table.started_from(rows, path) == {'bp': {'lr': 0.5, 'epochs': 3}}
    with pytest.raises(UserError, match='no winner of fa'):
        table.started_from({'fa': {}}, path)


def test_winners_of_a_table_of_an_earlier_bioprop_have_the_names_of_today():
    path = ROOT / 'results' / 'table1_mnist_fc.json'
    rows = row_configs('mnist', 'fc')
    won = table.started_from({'sdtp_parallel': rows['sdtp_parallel']}, path)['sdtp_parallel']
    assert won.keys() == rows['sdtp_parallel'].keys()
    assert won['feedback_lr'] != rows['sdtp_parallel']['feedback_lr']


def test_a_table_is_made_again_of_the_runs_that_were_published(tmp_path):
    with tarfile.open(ROOT / 'results' / 'table1_mnist_fc_runs.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    made = tables.all_rows(load(tmp_path))
    told = json.loads((ROOT / 'results' / 'table1_mnist_fc.json').read_text())['rows']
    assert len(made) == len(told) == 9
    for row, expected in zip(made, told, strict=True):
        assert {row[name] for name in ('runs', 'diverged')} == {35, 0}
        for name in ('train', 'validation', 'test', 'best_test'):
            assert row[name] == pytest.approx(expected[name]), expected['name']


def launch(*arguments):
    return subprocess.run(
        [sys.executable, '-m', *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.full
def test_table1_makes_its_table_and_the_next_takes_its_winners(tmp_path):
    study = tmp_path / 'study'
    arguments = (
        'experiments.table1', '--dataset=mnist_mini', '--settings=hidden=(8,),batch_size=500',
        '--rows=bp', '--epochs=2', '--seeds=2', '--cpu_devices=1',
    )  # fmt: skip
    done = launch(*arguments, '--configurations=3', f'--study={study}')
    assert done.returncode == 0, done.stderr
    content = json.loads((study / 'table.json').read_text())
    (bp,) = content['rows']
    lines = [json.loads(line) for line in (study / 'results.jsonl').read_text().splitlines()]
    tests = [
        line['summary']['test_error_at_best_validation']
        for line in lines
        if line['config']['seed'] > 0
    ]
    assert bp['test']['mean'] == pytest.approx(sum(tests) / 2)
    assert (bp['runs'], bp['test']['seeds'], len(lines)) == (5, 2, 5)
    table = done.stdout[done.stdout.rindex('paper test') :].splitlines()
    assert [line.split()[0] for line in table[2:]] == ['bp']
    assert '--study' not in content['command']
    assert content['command'].startswith('python -m experiments.table1 --dataset=mnist_mini')
    assert (study / 'table.md').exists()
    assert (study / 'table.csv').exists()

    again = tmp_path / 'again'
    done = launch(
        *arguments, '--configurations=1', f'--winners_of={study / "table.json"}', f'--study={again}'
    )
    assert done.returncode == 0, done.stderr
    (bp_again,) = json.loads((again / 'table.json').read_text())['rows']
    assert bp_again['test'] == bp['test']  # the same settings and seeds
    assert bp_again['runs'] == 2


def test_a_table_has_the_rows_that_have_runs():
    seeds = [summary(3.0)] * 3
    found = made(  # another process has worked on dfa
        runs_of('dfa', summary(3.0), seeds), runs_of('fa', None, []),
        published={'fa': {'test': 1.85}},
    )  # fmt: skip
    assert [(row['name'], row['runs'], row['paper_test']) for row in found] == [
        ('fa', 0, 1.85), ('dfa', 4, None),
    ]  # fmt: skip


def test_a_wrong_row_ends_in_one_message(tmp_path):
    done = launch('experiments.table1', '--rows=backprop', f'--study={tmp_path / "study"}')
    assert done.returncode == 1
    assert 'backprop' in done.stderr + done.stdout
    assert 'Traceback' not in done.stderr
