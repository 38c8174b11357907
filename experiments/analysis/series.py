"""The lines that figures show: frames of points, from the records and summaries of runs.

A line is the points of one `row`: their `x`, and `mean` and `deviation` over seeds. Each point has
the `method` of its row too, and how many `seeds` it has and how many of them `diverged`.
"""

from collections.abc import Iterator

import pandas as pd

from bioprop.records.frames import records_of
from bioprop.records.spreads import spreads
from bioprop.studies.roles import longest
from experiments.analysis.paper import WITHOUT_UNITS
from experiments.analysis.rows import Method


def records(runs: pd.DataFrame) -> pd.DataFrame:
    """The records of the runs."""
    return records_of(zip(runs['name'], runs.folder, strict=True))


def lines(points: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The lines of points, each the `value` at `x` of the run of a `name`."""
    if points.empty:
        return pd.DataFrame(columns=['row', 'method'])
    row = points['name'].map(runs.set_index('name').row)
    found = spreads(points.value, [row, points.x]).drop(columns='seeds')
    told = runs.groupby('row').agg(
        method=('method', 'first'), seeds=('name', 'size'), diverged=('diverged', 'sum')
    )
    found = found.rename_axis(['row', 'x']).reset_index().join(told, on='row')
    return found.sort_values(['row', 'x'], ignore_index=True)


def by_method(lines: pd.DataFrame) -> Iterator[tuple[Method, pd.DataFrame]]:
    """Each line with its method."""
    for _, line in lines.groupby('row'):
        yield line.method.iloc[0], line


def training_scores(records: pd.DataFrame, name: str) -> pd.DataFrame:
    """The running mean of each epoch, over its calls by the images that they were trained on.

    Passes that train the inverses alone have no forward score.
    """
    calls = records.reindex(columns=['name', 'epoch', 'seconds', 'examples_per_second', name])
    calls = calls.dropna(subset=name)
    images = calls.seconds * calls.examples_per_second
    calls = calls.assign(images=images, total=images * calls[name])
    sums = calls.groupby(['name', 'epoch'])[['total', 'images']].sum()
    return (sums.total / sums.images).rename('value').rename_axis(['name', 'x']).reset_index()


def evaluation_scores(records: pd.DataFrame, name: str) -> pd.DataFrame:
    """The score of each epoch that has it."""
    found = records.reindex(columns=['name', 'epoch', name]).dropna(subset=name)
    return found.set_axis(['name', 'x', 'value'], axis=1)


def curves(winners: pd.DataFrame, parts: tuple[str, ...], measure: str) -> dict[str, pd.DataFrame]:
    """Lines over epochs by the part of the data: 'train', 'validation', 'test'."""
    found = records(winners)
    trained, evaluated = (found[found.kind == kind] for kind in ('train', 'eval'))
    points = {part: evaluation_scores(evaluated, f'{part}_{measure}') for part in parts}
    points |= {'train': training_scores(trained, measure)} if 'train' in parts else {}
    return {part: lines(each, winners) for part, each in points.items()}


def search_trials(runs: pd.DataFrame) -> pd.DataFrame:
    """The trials of each row that was searched, with the test `accuracy`, in percent.

    It is that at the best validation epoch, and missing where a trial diverged.
    """
    trials = longest(runs[runs.role == 'trial'])
    return trials.assign(accuracy=(100 - trials.test).where(~trials.diverged))


def by_units(runs: pd.DataFrame) -> pd.DataFrame:
    """Lines of the test error over auxiliary units, for each rule, net and schedule that has some.

    At 0 stands the rule without them, unless one has been trained with none.
    """
    won = runs[(runs.role == 'winner') & runs.test.notna()]
    stands_in = won.rule.isin(WITHOUT_UNITS)
    won = won.assign(
        method=[m._replace(rule=WITHOUT_UNITS.get(m.rule, m.rule), units=None) for m in won.method],
        x=[method.units or 0 for method in won.method],
        value=won.test,
        stands_in=stands_in,
    )[stands_in | won.method.map(lambda method: method.units is not None)]
    own = won[~won.stands_in]
    won = won[~won.stands_in | ~won.method.isin(own[own.x == 0].method)]
    won = won[won.method.isin(own[own.x > 0].method)]
    won = won.assign(row=won.groupby('method').row.transform('max'))
    found = lines(won, won)
    counts = won.groupby(['row', 'x']).size().groupby('row').max()
    return found.assign(seeds=found.row.map(counts), diverged=0)
