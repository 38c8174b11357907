"""The page of the leaderboard: its tables in results/ through leaderboard.html.jinja."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bioprop.errors import UserError
from bioprop.records.spreads import Spread
from bioprop.rules import CATALOGUE
from experiments.analysis.leaders import GOOD, NEAR
from experiments.analysis.rows import Panel
from experiments.analysis.text import shown
from experiments.drawing import leaders
from experiments.pages import rules
from experiments.pages.page import NOTHING, render, short

Row = dict[str, Any]
Table = dict[str, Any]


class Cell(NamedTuple):
    """What is read, and the number that it is sorted by, None where it is missing."""

    text: str
    number: float | None = None


def spread(name: str, digits: int = 2) -> Callable[[Row], Cell]:
    """The cell of a spread, sorted by its mean."""

    def cell(row: Row) -> Cell:
        value: Spread | None = row[name]
        return Cell(shown(value, digits), value['mean']) if value else Cell(NOTHING)

    return cell


def share(name: str) -> Callable[[Row], Cell]:
    """The cell of a share, in percent."""

    def cell(row: Row) -> Cell:
        return Cell(NOTHING) if row[name] is None else Cell(f'{row[name]:.0%}', row[name])

    return cell


def published(row: Row) -> Cell:
    """The lowest of the numbers that were read; all of them are told with the rule."""
    found = [each['error'] for each in row['published']]
    return Cell(', '.join(f'{error:g}' for error in found), min(found)) if found else Cell(NOTHING)


def work(row: Row) -> Cell:
    """Of a step."""
    return Cell(f'{row["work"]:.2f}', row['work'])


NUMBERS: dict[str, Callable[[Row], Cell]] = {
    'test error (%)': spread('test'),
    'best test (%)': spread('best_test'),
    'published (%)': published,
    f'epochs to {GOOD:g} %': spread('epochs_to_good', 1),
    'work (BP)': work,
    'angle to BP (°)': spread('update_angle', 0),
    'near best': share('near'),
    'diverged': share('diverged'),
}


def tables(folder: Path) -> list[Table]:
    """The content of the folder's leaderboard_PANEL.json. Raises UserError if there is none."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob('leaderboard_*.json'))]
    if not found:
        raise UserError(
            f'{folder} has no leaderboard_PANEL.json: make one by python -m '
            f'experiments.leaderboard --panel=PANEL --out={folder / "leaderboard_PANEL"}'
        )
    return found


def title(table: Table) -> str:
    """Its panel in words."""
    return Panel(*table['panel'].rsplit('_', 1), 'error').title


def about(row: Row) -> dict[str, Any]:
    """What a rule's own page tells beside its row."""
    name = row['rule']
    return {
        'title': inspect.getdoc(CATALOGUE[name].make).partition('\n')[0],
        'equations': rules.equations(name),
        'said': rules.said(name),
        'sources': CATALOGUE[name].sources,
        'settings': {key: short(value) for key, value in (row['winner'] or {}).items()},
    }


def curves(table: Table) -> list[tuple[Row, Any]]:
    """The rows that have curves, with their figures; the first is the best."""
    rows = [row for row in table['rows'] if row['curve']['mean']]
    return [(row, leaders.curve(row, rows[0], leaders.ends(rows))) for row in rows]


def page(folder: Path) -> str:
    """The page of the tables in a folder. Raises UserError if there is none."""
    found = tables(folder)
    return render(
        'leaderboard.html.jinja',
        tables=found,
        title=title,
        numbers=NUMBERS,
        families=sorted({row['family'] for table in found for row in table['rows']}),
        transport=rules.TRANSPORT,
        about=about,
        scatter=leaders.scatter,
        curves=curves,
        good=GOOD,
        near=NEAR,
        nothing=NOTHING,
    )
