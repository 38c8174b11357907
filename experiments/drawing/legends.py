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
    handles = [
        Line2D([], [], label=_label(each.Index, each), **style.line(each.method))
        for each in told.itertuples()
    ]
    least, most = rows.seeds.min(), rows.seeds.max()
    seeds = f'{least} to {most}' if least < most else least
    spread = f'mean \N{PLUS-MINUS SIGN} standard deviation over {seeds} seeds'
    draw(figure, handles, 'one seed' if most == 1 else spread, 4)


def _label(name, told):
    return f'{name} ({told.diverged} of {told.seeds} diverged)' if told.diverged else name
