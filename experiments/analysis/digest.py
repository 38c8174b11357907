"""The few numbers of a study's diagnostics that a page shows, as tables: functions of its JSON."""

from typing import Any

from experiments.analysis.text import shown, tabulated

# Columns: header, metric, place. Of validation images, in the last epoch.
COLUMNS = (
    ('signal, first layer (°)', 'signal_angle', 'layer_1'),
    ('signal, all (°)', 'signal_angle', 'total'),
    ('update, all (°)', 'update_angle', 'total'),
    ('feedback to W (°)', 'alignment_angle', 'total'),
    ('Jacobians (°)', 'jacobian_angle', 'total'),
    ('reconstruction', 'reconstruction/clean', 'total'),
    ('rank of targets', 'target_rank', 'whole'),
    ('rank of states', 'state_rank', 'whole'),
    ('saturated', 'saturation', 'total'),
    ('residual, free', 'residual/free', 'whole'),
    ('residual, taught', 'residual/taught', 'whole'),
    ('spikes a second', 'spike_rate', 'total'),
)


def text(panels: list[dict[str, Any]], style: str = 'simple') -> str:
    """A table for each panel: errors and angles, mean ± standard deviation over seeds."""
    parts = []
    for panel in panels:
        columns = [each for each in COLUMNS if any(_found(row, each) for row in panel['rows'])]
        headers = ['row', 'seeds', 'epochs', 'test error (%)', *(name for name, *_ in columns)]
        cells = [_cells(row, columns) for row in panel['rows']]
        parts.append(f'{panel["panel"]}:\n\n{tabulated(cells, headers, style)}')
    return '\n\n'.join(parts)


def _found(row, column):
    _, metric, place = column
    return row['validation']['last'].get(metric, {}).get(place)


def _cells(row, columns):
    texts = [shown(row['error']['test']), *(_shown(_found(row, each)) for each in columns)]
    return [row['row'], row['seeds'], row['epochs'], *texts]


def _shown(value: dict[str, Any] | None) -> str:
    return shown(value, 1 if value and abs(value['mean']) >= 10 else 2)
