"""What was measured at a checkpoint as a frame and as a table."""

import pandas as pd

from bioprop.records.numbers import apart
from bioprop.running.looks import Look
from experiments.analysis.text import tabulated
from experiments.pages.page import NOTHING


def frame_of(look: Look) -> pd.DataFrame:
    """Its numbers, as of `bioprop.records.numbers`, with `checkpoint` and `part`."""
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
