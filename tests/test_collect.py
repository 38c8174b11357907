"""Finished runs, gathered into one file."""

import json
import subprocess
import sys

import studies


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
