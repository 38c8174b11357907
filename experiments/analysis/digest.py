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
)


def text(panels: list[dict[str, Any]], style: str = 'simple') -> str:
    """A table for each panel: errors and angles, mean ± standard deviation over seeds."""
    parts = []
    for panel in panels:
        headers = ['row', 'seeds', 'epochs', 'test error (%)', *(name for name, *_ in COLUMNS)]
        cells = [_cells(row) for row in panel['rows']]
        parts.append(f'{panel["panel"]}:\n\n{tabulated(cells, headers, style)}')
    return '\n\n'.join(parts)


def _cells(row):
    last = row['validation']['last']
    numbers = [last.get(metric, {}).get(place) for _, metric, place in COLUMNS]
    texts = [shown(row['error']['test']), *map(_shown, numbers)]
    return [row['row'], row['seeds'], row['epochs'], *texts]


def _shown(value: dict[str, Any] | None) -> str:
    return shown(value, 1 if value and abs(value['mean']) >= 10 else 2)
