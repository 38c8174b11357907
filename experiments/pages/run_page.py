"""One run looked into: its tables, its figures, and its page through run_page.html.jinja."""

import time
from collections.abc import Sequence
from pathlib import Path

from bioprop.errors import UserError
from bioprop.records.provenance import provenance
from bioprop.records.writers import write_json, write_whole
from bioprop.running.report import evaluations
from experiments.analysis.measured import PARTS, diagnostics, over_steps
from experiments.analysis.results import Run
from experiments.analysis.rows import method_of, panel_of
from experiments.analysis.words import label, title
from experiments.drawing import inside
from experiments.drawing.gallery import Figures, save
from experiments.drawing.themes import THEMES
from experiments.pages.examine import Look, as_records, cells, examine, text
from experiments.pages.page import embedded, settings_text, template


def figures_of_training(run: Run) -> Figures:
    """What was recorded in training, a figure for each theme."""
    records = run.records()
    scored = evaluations(records)  # they tell how long an epoch is
    scale, x = (scored[0]['epoch'] / scored[0]['step'], 'epoch') if scored else (1.0, 'step')
    curves = {part: over_steps(diagnostics(records, part), scale) for part in PARTS}
    return {
        f'recorded_{name}': figure
        for name, theme in THEMES.items()
        if (figure := inside.recorded(_title(run), theme.metrics, curves, x))
    }


def figures_of_checkpoints(run: Run, looks: Sequence[Look]) -> Figures:
    """What was measured at checkpoints, a figure for each theme."""
    found = {}
    for look in looks:
        found.setdefault(look.checkpoint, {})[look.part] = look.numbers
    return {
        f'measured_{name}': figure
        for name, theme in THEMES.items()
        if (figure := inside.over_layers(_title(run), theme.metrics, found))
    }


def _title(run: Run) -> str:
    return f'{label(method_of(run))}\n{title(panel_of(run))}'


def page(run: Run, looks: Sequence[Look], sections: dict[str, Figures]) -> str:
    """The whole page, with figures by headings."""
    records = run.records()
    return template('run_page.html.jinja').render(
        name=run.folder.resolve().name,
        now=time.strftime('%Y-%m-%d %H:%M'),
        run=run,
        epochs=records[-1]['epoch'] if records else 0,
        method=method_of(run),
        panel=panel_of(run),
        label=label,
        settings=settings_text([run]),
        looks=looks,
        cells=cells,
        sections={
            heading: [(name, embedded(figure), _caption(name)) for name, figure in found.items()]
            for heading, found in sections.items()
        },
        made_with={
            'The run: configuration, versions and hardware': {'config': run.config}
            | run.provenance(),
            'This page: versions and hardware': provenance(),
        },
    )


def _caption(name: str) -> str:
    return THEMES[name.partition('_')[2]].caption


def write(run: Run, names: tuple[str, ...], images: int, out: Path) -> list[Path]:
    """Prints the tables of the checkpoints and writes the files, which it returns.

    Raises UserError where there is nothing to look at.
    """
    looks = []
    for look in examine(run, names, images) if names else ():
        if look.numbers:  # a rule may have nothing of what is named
            print(text(look))
            looks.append(look)
    sections = {
        'Over layers, at the checkpoints': figures_of_checkpoints(run, looks),
        'Recorded in training': figures_of_training(run),
    }
    if not looks and not any(sections.values()):
        raise UserError(
            f'{run.folder} has nothing to look at: no checkpoint yet, or none of the named '
            'diagnostics for this rule, and no record of --config.diagnostics'
        )
    paths = [path for found in sections.values() for path in save(found, out)]
    if looks:
        content = {'run': run.config, 'looks': as_records(looks)}
        paths.append(out / 'measured.json')
        write_json(paths[-1], content | provenance())
    write_whole(out / 'report.html', page(run, looks, sections))
    return [*paths, out / 'report.html']
