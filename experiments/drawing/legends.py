"""What stands under the axes of a figure."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.drawing import style


def draw(figure: Figure, handles: list[Line2D], title: str, columns: int) -> None:
    """A legend under all axes."""
    figure.legend(
        handles=handles, loc='outside lower center', ncols=min(columns, len(handles)),
        columnspacing=1.2, title=title, title_fontsize=8,
    )  # fmt: skip


def methods(figure: Figure, lines: pd.DataFrame) -> None:
    """Each method once, and what the lines and bands are."""
    rows = lines.drop_duplicates('row')
    rows = rows.assign(label=[method.label for method in rows.method])
    alike = rows.groupby('label', sort=False)  # in several panels
    told = alike[['seeds', 'diverged']].sum().join(alike.method.first())
    handles = []
    for name, seeds, diverged, method in told.itertuples():
        label = f'{name} ({diverged} of {seeds} diverged)' if diverged else name
        handles.append(Line2D([], [], label=label, **style.line(method)))
    least, most = rows.seeds.min(), rows.seeds.max()
    seeds = f'{least} to {most}' if least < most else least
    spread = f'mean \N{PLUS-MINUS SIGN} standard deviation over {seeds} seeds'
    draw(figure, handles, 'one seed' if most == 1 else spread, 4)
