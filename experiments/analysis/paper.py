"""The paper's tables: their rows, and what it concludes from them. No other file names a rule."""

from bioprop.settings import paper, published, resolve
from bioprop.studies.study import Config
from experiments.analysis.rows import Method

BOTH = ('parallel', 'alternating')
SCHEDULES = {
    'bp': BOTH[:1], 'fa': BOTH[:1], 'dfa': BOTH[:1], 'dtp': BOTH, 'sdtp': BOTH, 'ao_sdtp': BOTH,
}  # fmt: skip
WITHOUT_UNITS = {'sdtp': 'ao_sdtp'}  # what a rule is with auxiliary units

# Differences of rows that the paper draws conclusions from: (name, minuend, subtrahend).
CONTRASTS = (
    ('dtp: alternating - parallel', 'dtp_alternating', 'dtp_parallel'),
    ('sdtp: alternating - parallel', 'sdtp_alternating', 'sdtp_parallel'),
    ('ao_sdtp: alternating - parallel', 'ao_sdtp_alternating', 'ao_sdtp_parallel'),
    ('parallel: sdtp - ao_sdtp', 'sdtp_parallel', 'ao_sdtp_parallel'),
    ('alternating: sdtp - ao_sdtp', 'sdtp_alternating', 'ao_sdtp_alternating'),
    ('fa - dfa', 'fa', 'dfa'),
    ('fa - bp', 'fa', 'bp'),
    ('dtp_alternating - bp', 'dtp_alternating', 'bp'),
    ('bp: locally connected - convolutional', 'bp', 'bp_conv'),
)
# Others, of what diagnostics find.
LOOKS = (
    ('parallel: dtp - ao_sdtp', 'dtp_parallel', 'ao_sdtp_parallel'),
    ('alternating: dtp - ao_sdtp', 'dtp_alternating', 'ao_sdtp_alternating'),
)


def row_configs(dataset: str, net: str, settings: str = '') -> dict[str, Config]:
    """The rows of a data set and kind of net, by their names in the paper.

    settings is 'key=value,key=value' for all of them. Local nets have the convolutional one,
    trained by backpropagation, as one more row.
    """
    kinds = [(net, rule, schedule) for rule, turns in SCHEDULES.items() for schedule in turns]
    if net == 'lc':
        kinds.append(('conv', 'bp', 'parallel'))
    return {
        published.row_name(net, rule, schedule): resolve.resolve(
            paper(dataset, rule, settings, net=net, schedule=schedule, hyperparameters='tuned')
        )
        for net, rule, schedule in kinds
    }


def row_name(method: Method) -> str:
    """As in the tables; of alternating by step, which they lack, with '_step' behind it."""
    name = published.row_name(method.net, method.rule, method.schedule)
    return f'{name}_step' if method.schedule == 'alternating_step' else name
