"""A rule of one's own is one in every respect: the tutorial's, from the dry run to the report."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = """
from bioprop.settings import paper

RATES = {'lr': 1e-3, 'beta1': 0.9, 'beta2': 0.99, 'eps': 1e-8}

def get_config(arguments=''):
    return paper('mnist', 'my_rules:sign_symmetry', arguments, dataset='mnist_mini',
                 hidden=(16,), epochs=2, batch_size=500, **RATES)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Holds the tutorial's my_rules.py, a config, and the study of a search."""
    path = tmp_path_factory.mktemp('own')
    text = (ROOT / 'docs' / 'your_own_rule.md').read_text()
    (source,) = re.findall(r'Put this into `my_rules.py`:\s*```python\n(.*?)```', text, re.S)
    (path / 'my_rules.py').write_text(source)
    (path / 'my_config.py').write_text(CONFIG)
    arguments = ('--configurations=3', '--seeds=2', '--rungs=full', '--study=study')
    run(path, 'experiments.search', '--config=my_config.py', *arguments)
    return path


def run(folder, module, *arguments):
    """What a command printed."""
    done = subprocess.run(
        [sys.executable, '-m', module, *arguments], cwd=folder, capture_output=True, text=True,
        env={'PATH': '', 'PYTHONPATH': f'{ROOT}:{folder}', 'JAX_PLATFORMS': 'cpu', 'HOME': '/tmp'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_has_a_dry_run(folder):
    page = run(folder, 'bioprop.main', '--config=my_config.py', '--dry_run')
    assert 'my_rules:sign_symmetry, parallel' in page


def test_a_search_draws_from_its_own_range(folder):
    sys.path.insert(0, str(folder))
    from bioprop.records import runs

    found = runs(folder / 'study')
    tried = found[found.seed == 0].feedback_scale
    assert len(tried) == 3
    assert tried.between(0.3, 3).all()
    assert tried.nunique() == 3


@pytest.mark.full
def test_tables_figures_and_pages_call_it_by_its_name(folder):
    table = run(folder, 'experiments.table', '--study=study')
    assert re.search(r'^sign_symmetry .* 2 +5 +0 ', table, re.M)
    run(folder, 'experiments.figures', 'curves', '--study=study', '--out=figures')
    (svg,) = (folder / 'figures').glob('*.svg')
    assert 'sign_symmetry' in svg.read_text()
    run(folder, 'experiments.report', '--study=study', '--out=report.html')
    page = (folder / 'report.html').read_text()
    assert 'sign_symmetry' in page
