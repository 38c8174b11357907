"""Runs and records as data frames: what a study written by hand holds, and what is refused."""

import json
import sys

import pytest
import studies

import bioprop.records
from bioprop.errors import UserError


def test_a_row_is_a_run_with_its_settings_and_scores(tmp_path):
    runs = bioprop.records.runs(studies.searched(tmp_path))
    assert len(runs) == runs['name'].nunique() == 9
    config = studies.config(seed=2, lr=0.1)
    (run,) = runs[(runs.rule == 'bp') & (runs.seed == 2)].itertuples()
    assert run.config == config
    assert run.hidden == (256,) * 5  # what can be grouped by
    assert (run.finished, run.diverged, run.epochs, run.lr) == (True, False, 2, 0.1)
    assert run.test_error_at_best_validation == 8
    assert run.folder == tmp_path / 'runs' / run.name
    means = runs.groupby(['rule', 'lr']).test_error_at_best_validation.mean()
    assert means['dtp', 0.1] == 13
    assert runs.diverged.sum() == 1


def test_a_run_in_training_has_no_scores_yet(tmp_path):
    studies.write(tmp_path, studies.config(seed=1), [9], [8], ended=False)
    (run,) = bioprop.records.runs(tmp_path).itertuples()
    assert (run.finished, run.diverged) == (False, False)
    assert 'validation_error' not in bioprop.records.runs(tmp_path)
    studies.write(tmp_path, studies.config(seed=2), [9], [8])
    runs = bioprop.records.runs(tmp_path).set_index('seed')
    assert runs.finished.to_dict() == {1: False, 2: True}
    assert runs.validation_error.isna().to_dict() == {1: True, 2: False}


def test_options_of_a_rule_are_columns(tmp_path):
    studies.write(tmp_path, studies.config(power=2, ends=[1, 2]), [9], [8])
    runs = bioprop.records.runs(tmp_path)
    assert runs[['power', 'ends']].values.tolist() == [[2, (1, 2)]]


def test_what_an_earlier_bioprop_left_is_read_by_the_names_of_today(tmp_path):
    feedback = {'feedback_lr': 0.2, 'feedback_optimizer': 'sgd', 'feedback_beta1': None}
    now = studies.config(loss='reconstruction', power=2, inverse_scale=3.0) | feedback
    then = {key: value for key, value in now.items() if key not in (*feedback, 'power', 'loss')}
    then |= {key.replace('feedback', 'inverse'): value for key, value in feedback.items()}
    then |= {'loss': 'squared_error', 'rule_options': {'power': 2}}
    studies.write(tmp_path, then, [9], [8])
    (workdir,) = (tmp_path / 'runs').iterdir()
    for folder in (tmp_path, workdir):
        (run,) = bioprop.records.runs(folder).itertuples()
        assert run.config == now
        assert (run.feedback_lr, run.loss, run.power) == (0.2, 'reconstruction', 2)


def test_a_workdir_is_a_frame_of_one_run(tmp_path):
    studies.write(tmp_path, studies.config(), [9, 5], [8, 6])
    (workdir,) = (tmp_path / 'runs').iterdir()
    alone, among = bioprop.records.runs(str(workdir)), bioprop.records.runs(tmp_path)
    assert alone.iloc[0].to_dict() == among.iloc[0].to_dict()
    records = bioprop.records.records(workdir)
    assert set(records['name']) == {workdir.name}
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    for (_, row), line in zip(records.iterrows(), lines, strict=True):
        assert row.dropna().to_dict() == json.loads(line) | {'name': workdir.name}


def test_records_are_those_of_all_runs(tmp_path):
    records = bioprop.records.records(studies.searched(tmp_path))
    assert records['name'].nunique() == 8  # one diverged before its first record
    runs = bioprop.records.runs(tmp_path).set_index('name')
    best = runs[~runs.diverged].best_test_error
    lowest = records[records.kind == 'eval'].groupby('name').test_error.min()
    assert best.sort_index().tolist() == lowest.tolist()


def test_what_is_not_there_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match='holds no study'):
        bioprop.records.runs(tmp_path)
    (tmp_path / 'runs').mkdir()
    assert bioprop.records.runs(tmp_path).empty
    assert bioprop.records.records(tmp_path).empty
    studies.searched(tmp_path)
    workdir = next((tmp_path / 'runs').iterdir())
    (workdir / 'config.json').write_text('{')
    with pytest.raises(UserError, match=r'config\.json is damaged'):
        bioprop.records.runs(workdir)
    (tmp_path / 'results.jsonl').write_text('{"run": ')
    with pytest.raises(UserError, match=r'results\.jsonl is damaged'):
        bioprop.records.runs(tmp_path)


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    studies.write(tmp_path, studies.config(), [9], [8])
    monkeypatch.setitem(sys.modules, 'pandas', None)
    for name in ('runs', 'records'):
        with pytest.raises(UserError, match=rf"{name} needs pandas: .*'\.\[experiments\]'"):
            getattr(bioprop.records, name)(tmp_path)
