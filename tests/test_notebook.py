"""The notebook of a first look runs as it is printed, in a folder of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / 'docs' / 'start.ipynb'


def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def results(cell, kind):
    """What a cell shows of that kind."""
    return [each.data[kind] for each in cell.outputs if kind in each.get('data', {})]


def test_it_is_kept_without_what_it_showed():
    for cell in cells(nbformat.read(NOTEBOOK, 4)):
        assert not cell.outputs
        assert cell.execution_count is None


def test_it_runs_to_its_figure(tmp_path, monkeypatch):
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')  # compiles faster
    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=300, resources={'metadata': {'path': tmp_path}}).execute()
    _, _, scores, angles, table, figure = cells(notebook)
    found, told = eval(*results(scores, 'text/plain'))
    assert found == pytest.approx(told, abs=1e-4)
    assert all(0 <= angle < 90 for angle in eval(*results(angles, 'text/plain')).values())
    assert 'dtp' in results(table, 'text/html')[0]
    assert len(results(figure, 'image/png')) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['runs', 'studies']
