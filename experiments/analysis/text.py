"""How numbers and tables are written."""

from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

from bioprop.records.spreads import Spread


def shown(value: Spread | float | None, digits: int = 2) -> str:
    """With so many digits after the point, and the deviation where there are several seeds."""
    match value:
        case None:
            return '-'
        case {'mean': mean, 'deviation': deviation, 'seeds': seeds}:
            alone = f'{mean:.{digits}f}'
            return f'{alone} ± {deviation:.{digits}f}' if seeds > 1 else alone
    return f'{value:.{digits}f}'


def tabulated(
    cells: Iterable[Sequence[Any]], headers: Sequence[str], style: str = 'simple', left: int = 1
) -> str:
    """A table in a style of tabulate: simple, github, ...; the columns after `left` are numbers."""
    align = ['left'] * left + ['right'] * (len(headers) - left)
    return tabulate(cells, headers, tablefmt=style, disable_numparse=True, colalign=align)
