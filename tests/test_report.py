"""The report's numbers are those of a study written by hand, and its page needs nothing else."""

import base64
import html.parser
import json
import re
import statistics

import pytest
import studies

from bioprop.errors import UserError
from experiments.analysis.origins import origins
from experiments.analysis.overview import overview
from experiments.analysis.rows import load
from experiments.pages.page import page_of, search_text, spread_text


def spread(mean, deviation, seeds):
    return {'mean': mean, 'deviation': pytest.approx(deviation), 'seeds': seeds}


class Reader(html.parser.HTMLParser):
    """The cells of every table, by row, and the addresses that the page loads."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.tags, self._cell = [], [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ('src', 'href', 'srcset')]
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self._cell = True
            self.rows[-1].append('')

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self._cell = False

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data.strip()


def test_a_row_counts_the_seeds_of_the_winner_alone(tmp_path):
    bp, dtp = overview(load(studies.searched(tmp_path)))
    assert bp['train'] == spread(statistics.mean([4, 5, 9]), statistics.stdev([4, 5, 9]), 3)
    assert bp['test'] == spread(9, statistics.stdev([7, 8, 12]), 3)
    assert bp['validation'] == spread(10, statistics.stdev([8, 9, 13]), 3)
    assert bp['best_test'] == bp['test']
    assert (bp['trials'], bp['diverged_trials'], bp['seeds'], bp['planned']) == (3, 1, 3, 3)
    assert bp['hours'] == pytest.approx(0.6)
    assert bp['published'] == {'train': 0, 'test': 1.48}
    assert bp['winner']['lr'] == 0.1
    assert dtp['test']['mean'] == 13
    assert (dtp['trials'], dtp['epochs']) == (0, 2)
    assert dtp['published'] == {'train': 0, 'test': 1.83}


@pytest.mark.parametrize(
    'settings',
    [
        {'hidden': [32]},
        {'dataset': 'mnist_mini'},
        {'rule': 'my_module:my_rule'},
        {'rule': 'dtp', 'schedule': 'alternating_step'},
        {'rule': 'ao_sdtp', 'auxiliary_units': 8},
        {'loss': 'reconstruction'},
    ],
)
def test_what_the_paper_did_not_run_has_no_published_figure(tmp_path, settings):
    studies.write(tmp_path, studies.config(**settings), [1], [1])
    (row,) = overview(load(tmp_path))
    assert row['published'] is None


def test_convolutional_nets_stand_beside_local_ones(tmp_path):
    hidden = [[3, 32, 2], [3, 64, 2], 1024]
    for net in ('conv', 'lc'):
        studies.write(tmp_path, studies.config(net=net, hidden=hidden), [1], [1])
    local, shared = overview(load(tmp_path))
    assert (local['method'].net, local['published']['test']) == ('lc', 1.17)
    assert (shared['method'].net, shared['published']['test']) == ('conv', 1.01)


def test_numbers_are_written_with_their_seeds():
    assert (
        spread_text({'mean': 2.314, 'deviation': 0.0549, 'seeds': 5}, 'error') == '2.31 ± 0.05 (5)'
    )
    assert spread_text({'mean': 0.0123456, 'deviation': 0.0, 'seeds': 1}, 'loss') == '0.01235 (1)'
    assert spread_text(None, 'error') == '\N{EN DASH}'
    assert search_text({'rungs': [[6, 2], [2, 6]], 'seeds': 3}) == (
        'Random search in each row: 6 configurations for 2 epochs, then 2 configurations for '
        '6 epochs, then 3 seeds of the winner.'
    )
    assert search_text({'rungs': []}) == ''


def test_origins_are_counted(tmp_path):
    runs = load(studies.searched(tmp_path))
    assert origins(runs) == [(studies.PROVENANCE, len(runs))]
    assert origins(runs.assign(folder=tmp_path / 'gone')) == []


def test_the_page_shows_the_rows_and_loads_nothing(tmp_path):
    studies.searched(tmp_path)
    (tmp_path / 'study.json').write_text(json.dumps({'note': '<script>alert(1)</script>'}))
    text = page_of(tmp_path)
    page = Reader(text)
    rows = {row[0]: row[1:] for row in reversed(page.rows)}  # of the first table
    assert rows['BP'] == [
        '6.00 ± 2.65 (3)', '10.00 ± 2.65 (3)', '9.00 ± 2.65 (3)', '9.00 ± 2.65 (3)',
        '0.00', '1.48', '2', '3', '3, 1 diverged', '0:36:00',
    ]  # fmt: skip
    assert rows['DTP, alternating'][2] == '13.00 ± 2.65 (3)'
    assert len(page.addresses) == 2  # curves and histograms
    for address in page.addresses:
        kind, _, content = address.partition(',')
        assert kind == 'data:image/svg+xml;base64'
        assert b'</svg>' in base64.b64decode(content)
    assert not page.tags & {'script', 'link', 'iframe', 'object'}
    assert not re.search(r'@import|url\(', text)
    assert 'abc' in text
    assert 'and changes' in text


def test_a_study_in_progress_has_a_page(tmp_path):
    (tmp_path / 'study.json').write_text(json.dumps({'rungs': [[2, 2]], 'seeds': 2}))
    with pytest.raises(UserError, match='no runs yet'):
        page_of(tmp_path)
    studies.write(tmp_path, studies.config(seed=0, lr=0.1), [9, 5], [8, 6])
    studies.write(tmp_path, studies.config(seed=0, lr=0.5), [9], [8], ended=False)
    rows = {row[0]: row[1:] for row in reversed(Reader(page_of(tmp_path)).rows)}
    dash = '\N{EN DASH}'
    assert rows['BP'][:4] == [dash] * 4
    assert rows['BP'][-3:] == ['searching', '1', '0:06:00']
    # The seeds of the winner have begun: one has ended.
    studies.write(tmp_path, studies.config(seed=1, lr=0.1), [9, 4], [8, 7])
    studies.write(tmp_path, studies.config(seed=2, lr=0.1), [9], [8], ended=False)
    rows = {row[0]: row[1:] for row in reversed(Reader(page_of(tmp_path)).rows)}
    assert rows['BP'][2] == '7.00 (1)'
    assert rows['BP'][-3] == '1 of 2'


def test_a_study_of_results_alone_has_a_page(tmp_path):
    studies.searched(tmp_path / 'whole')
    (tmp_path / 'alone').mkdir()
    (tmp_path / 'whole' / 'results.jsonl').rename(tmp_path / 'alone' / 'results.jsonl')
    page = Reader(page_of(tmp_path / 'alone'))
    assert len(page.addresses) == 1  # histograms; curves need records
    assert any(row[:1] == ['BP'] for row in page.rows)


def test_a_report_on_an_autoencoder_is_in_losses(tmp_path):
    config = studies.config('dtp', loss='reconstruction', feedback_lr=0.1)
    studies.write(tmp_path, config, [0.1, 0.05], [0.04, 0.03])
    rows = {row[0]: row[1:] for row in reversed(Reader(page_of(tmp_path)).rows)}
    assert rows['DTP, parallel'][:4] == ['0.05000 (1)', '1.03000 (1)', '0.03000 (1)', '0.03000 (1)']
