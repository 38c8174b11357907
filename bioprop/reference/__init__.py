"""Numbers that stand once: those of Bartunov et al. 2018, and our own settings beside them."""

import functools
import json
from pathlib import Path

from bioprop.errors import UserError

FOLDER = Path(__file__).parent


@functools.cache
def paper() -> dict:
    """Tables 1 to 5 of the paper."""
    return json.loads((FOLDER / 'bartunov2018.json').read_text())


@functools.cache
def _tuned() -> dict:
    return json.loads((FOLDER / 'tuned.json').read_text())


def row_name(rule: str, schedule: str) -> str:
    """The name of a row in the paper's tables: 'bp', 'dtp_alternating', ..."""
    if rule in ('dtp', 'sdtp', 'ao_sdtp'):
        return f'{rule}_{schedule.removesuffix("_step")}'
    return rule


def hidden_widths(dataset: str) -> tuple[int, ...]:
    """Hidden widths of the fully connected net (table 3). Raises UserError if it has none."""
    try:
        return tuple(paper()['table3_architectures'][f'{dataset}_fc']['hidden'])
    except KeyError:
        raise UserError(f'the paper has no fully connected net for {dataset!r}') from None


def hyperparameters(source: str, dataset: str, net: str, rule: str, schedule: str) -> dict:
    """Hyperparameters from 'published' (table 5) or 'tuned' (ours); {} where there are none.

    The paper gives none for AO-SDTP: it gets those of SDTP. The two alternating schedules share a
    published row; tuned rows name theirs.
    """
    if source == 'tuned':
        return _tuned().get(f'{dataset}_{net}', {}).get(f'{rule}_{schedule}', {})
    rows = paper()['table5_best_hyperparameters'].get(f'{dataset}_{net}', {})
    return rows.get(row_name('sdtp' if rule == 'ao_sdtp' else rule, schedule), {})
