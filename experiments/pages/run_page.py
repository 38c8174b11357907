"""One run looked into: its tables, its figures, and its page through run_page.html.jinja."""

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bioprop.errors import UserError
from bioprop.records.numbers import numbers
from bioprop.records.provenance import provenance
from bioprop.records.writers import write_json, write_whole
from bioprop.running.looks import Look, as_records, examine
from experiments.analysis.origins import origins
from experiments.analysis.rows import read
from experiments.analysis.series import records
from experiments.drawing import inside
from experiments.drawing.gallery import Figures, save
from experiments.drawing.themes import THEMES, metrics_of
from experiments.pages.examine import cells, frame_of, text
from experiments.pages.page import render, settings_text


def figures_of_training(run: pd.DataFrame) -> Figures:
    """What was recorded in training, a figure for each theme."""
    scored = records(run).query('kind == "eval"')  # they tell how long an epoch is
    scale = scored.epoch.iloc[0] / scored.step.iloc[0] if len(scored) else 1.0
    found = numbers(records(run)).assign(x=lambda found: found.step * scale)
    x = 'epoch' if len(scored) else 'step'
    return _figures('recorded', lambda metrics: inside.recorded(_title(run), metrics, found, x))


def figures_of_checkpoints(run: pd.DataFrame, looks: Sequence[Look]) -> Figures:
    """What was measured at checkpoints, a figure for each theme."""
    if not looks:
        return {}
    found = pd.concat(list(map(frame_of, looks)))
    return _figures('measured', lambda metrics: inside.over_layers(_title(run), metrics, found))


def _figures(kind, draw) -> Figures:
    figures = {f'{kind}_{name}': draw(metrics_of(theme)) for name, theme in THEMES.items()}
    return {name: figure for name, figure in figures.items() if figure}


def _title(run: pd.DataFrame) -> str:
    return f'{run.method.iloc[0].label}\n{run.panel.iloc[0].title}'


def page(run: pd.DataFrame, looks: Sequence[Look], sections: dict[str, Figures]) -> str:
    """The whole page, with figures by headings."""
    trained, (made, _) = records(run), origins(run)[0]
    return render(
        'run_page.html.jinja',
        run=run.iloc[0],
        name=run['name'].iloc[0],
        now=time.strftime('%Y-%m-%d %H:%M'),
        epochs=trained.epoch.iloc[-1] if len(trained) else 0,
        settings=settings_text(run),
        looks=[(look.title, *cells(look)) for look in looks],
        sections=sections,
        made_with={
            'The run: configuration, versions and hardware': {'config': run.config.iloc[0]} | made,
            'This page: versions and hardware': provenance(),
        },
    )


def write(workdir: Path, names: tuple[str, ...], images: int, out: Path) -> list[Path]:
    """Prints the tables of the checkpoints and writes the files, which it returns.

    Raises UserError where there is nothing to look at.
    """
    run, looks = read(workdir), []
    for look in examine(workdir, names, images) if names else ():
        if look.numbers:  # a rule may have nothing of what is named
            print(text(look))
            looks.append(look)
    sections = {
        'Over layers, at the checkpoints': figures_of_checkpoints(run, looks),
        'Recorded in training': figures_of_training(run),
    }
    if not any(sections.values()) and not looks:
        raise UserError(
            f'{workdir} has nothing to look at: no checkpoint yet, or none of the named '
            'diagnostics for this rule, and no record of --config.diagnostics'
        )
    paths = [path for found in sections.values() for path in save(found, out)]
    if looks:
        content = {'run': run.config.iloc[0], 'looks': as_records(looks)}
        paths.append(out / 'measured.json')
        write_json(paths[-1], content | provenance())
    write_whole(out / 'report.html', page(run, looks, sections))
    return [*paths, out / 'report.html']
