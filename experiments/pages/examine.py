"""What was measured at a checkpoint as frame, table and JSON."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bioprop.running.looks import Look
from experiments.analysis.measured import apart
from experiments.analysis.spreads import tabulated
from experiments.pages.page import NOTHING


def frame_of(look: Look) -> pd.DataFrame:
    """Its numbers, as of `experiments.analysis.measured`, with `checkpoint` and `part`."""
    keys = {'checkpoint': look.checkpoint, 'part': look.part}
    return apart(pd.DataFrame([keys | look.numbers]), list(keys))


def cells(look: Look) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: metrics, layers as columns, and the net as a whole."""
    found = frame_of(look).sort_values('layer', kind='stable', na_position='last')
    column = found.layer.map('layer {:.0f}'.format).where(found.layer.notna(), 'net')
    found = found.assign(column=column, text=[_cell(each) for each in found.itertuples()])
    found = found.drop_duplicates(['metric', 'column'])
    wide = found.pivot(index='metric', columns='column', values='text').fillna(NOTHING)
    wide = wide.reindex(frame_of(look).metric.unique()).reindex(columns=column.unique())
    return ['mean ± over images', *wide], wide.reset_index().values.tolist()


def _cell(found) -> str:
    digits = '.1f' if '_angle' in found.metric else '.3g'
    values = [found.value] + [found.over_images] * pd.notna(found.over_images)
    return ' ± '.join(f'{value:{digits}}' for value in values)


def text(look: Look) -> str:
    """The table of a look, for the console."""
    header, rows = cells(look)
    return f'{look.title}\n{tabulated(rows, header)}\n'


def as_records(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For a JSON file; None stands where a number is not finite."""
    return [
        each._asdict()
        | {'numbers': {k: x if math.isfinite(x) else None for k, x in each.numbers.items()}}
        for each in looks
    ]
