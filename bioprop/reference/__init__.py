"""Numbers that stand once: those of Bartunov et al. 2018, and our own settings beside them."""

import functools
import json
from pathlib import Path

from bioprop.errors import UserError

FOLDER = Path(__file__).parent


@functools.cache
def tables() -> dict:
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
        return tuple(tables()['table3_architectures'][f'{dataset}_fc']['hidden'])
    except KeyError:
        raise UserError(
            f'the paper has no fully connected net for {dataset!r}: set --config.hidden=(WIDTHS), '
            'or --config.paper_dataset=mnist or cifar10 to take the net and settings of that set'
        ) from None


def hyperparameters(source: str, dataset: str, net: str, rule: str, schedule: str) -> dict:
    """Hyperparameters from 'tuned' (ours) where there are any, else 'published'; {} if neither.

    The paper gives none for AO-SDTP: it gets those of SDTP. The two alternating schedules share
    a row.
    """
    name = f'{dataset}_{net}'
    tuned = _tuned().get(name, {}).get(row_name(rule, schedule))
    if source == 'tuned' and tuned:
        return tuned
    rows = tables()['table5_best_hyperparameters'].get(name, {})
    return rows.get(row_name('sdtp' if rule == 'ao_sdtp' else rule, schedule), {})
