"""The leaderboard's page in a browser: it sorts, filters and unfolds, and asks no network."""

import html.parser
import json
import shutil

import pytest

from bioprop.errors import UserError
from experiments.drawing.leaders import unbeaten
from experiments.pages import leaderboard, rules

FLAGS = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
)  # fmt: skip
# Of two panels: rule, family, test error, work, epochs to good.
ROWS = {
    'mnist_fc': (
        ('bp', 'backpropagation', 1.9, 1.0, 4.0), ('dfa', 'direct', 2.4, 0.8, 10.0),
        ('dtp', 'targets', 12.0, 2.5, None),
    ),
    'fashion_mnist_fc': (('usf', 'feedback', 9.5, 1.1, None),),
}  # fmt: skip


def spread(mean):
    return None if mean is None else {'mean': mean, 'deviation': 0.25, 'seeds': 3}


def row(rule, family, error, work, epochs):
    return {
        'rule': rule, 'label': rule.upper(), 'family': family, 'test': spread(error),
        'best_test': spread(error), 'epochs': 2, 'epochs_to_good': spread(epochs),
        'update_angle': spread(60.0), 'near': 0.25, 'diverged': None, 'trials': 12, 'work': work,
        'transport': 'none', 'winner': {'lr': 0.0123},
        'published': [{'task': 'A task', 'error': 0.77, 'source': 'A source'}],
        'curve': {'epoch': [1, 2], 'mean': [error + 1, error], 'deviation': [0.1, 0.1]},
    }  # fmt: skip


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('results')
    for panel, rows in ROWS.items():
        content = {
            'panel': panel, 'rows': [row(*each) for each in rows], 'command': 'a command',
            'commit': 'abc', 'versions': {'jax': '0.10'}, 'hardware': '1 cpu',
            'refused': {'fa': '<not run to its end>'},
        }  # fmt: skip
        (folder / f'leaderboard_{panel}.json').write_text(json.dumps(content))
    path = folder / 'page.html'
    path.write_text(leaderboard.page(folder))
    return path


class Addresses(html.parser.HTMLParser):
    """What the page would load by itself, and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag != 'a':
            self.found += [value for name, value in attrs if name in ('src', 'href', 'srcset')]

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_all_it_shows(page):
    read = Addresses(page.read_text())
    assert len(read.found) == 1 + 2 + 4  # icon, two scatters, four curves
    assert all(address.startswith('data:') for address in read.found)
    assert '<not run to its end>' in read.text
    assert '2.40 ± 0.25' in read.text
    assert '0.0123' in read.text
    assert '0.77 % (A task; A source)' in read.text


def test_without_tables_it_says_what_makes_them(tmp_path):
    with pytest.raises(UserError, match='--panel=PANEL --out='):
        leaderboard.page(tmp_path)


def test_the_unbeaten_have_less_work_or_fewer_errors_than_any_other():
    rows = [row(name, 'direct', error, work, None) for name, error, work in (
        ('best', 1.0, 3.0), ('cheapest', 4.0, 0.5), ('beaten', 4.5, 0.6), ('between', 2.0, 1.0),
        ('slow', 1.5, 4.0), ('as cheap', 4.2, 0.5),
    )]  # fmt: skip
    assert [each['rule'] for each in unbeaten(rows)] == ['cheapest', 'between', 'best']


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    webdriver = pytest.importorskip('selenium.webdriver')
    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if not (chromium and driver):
        pytest.skip('no chromium with its chromedriver')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("browser")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as found:
        yield found


@pytest.fixture
def opened(browser, page):
    browser.set_window_size(1280, 900)
    browser.get(page.as_uri())
    return browser


def shown(browser):
    """The rules of the rows that are seen, in order."""
    rows = browser.find_elements('css selector', '#rows tbody')
    return [each.get_attribute('data-rule') for each in rows if each.is_displayed()]


def click(browser, name):
    """Sorts by a column, and returns the rules and how it says that it is sorted."""
    heads = browser.find_elements('css selector', '#rows thead th')
    (head,) = [each for each in heads if each.text.rstrip(' ▲▼') == name]
    head.find_element('css selector', 'button').click()
    sorted_by = browser.find_elements('css selector', '#rows [aria-sort]')
    assert sorted_by == [head]
    return shown(browser), head.get_attribute('aria-sort')


def test_a_click_sorts_by_numbers_and_another_reverses(opened):
    assert click(opened, 'test error (%)') == (['bp', 'dfa', 'usf', 'dtp'], 'ascending')
    assert click(opened, 'test error (%)') == (['dtp', 'usf', 'dfa', 'bp'], 'descending')
    assert click(opened, 'family')[0] == ['bp', 'dfa', 'usf', 'dtp']


def test_what_is_missing_stands_last_either_way(opened):
    for order in (['bp', 'dfa'], ['dfa', 'bp']):
        found, _ = click(opened, 'epochs to 3 %')
        assert (found[:2], set(found[2:])) == (order, {'dtp', 'usf'})


@pytest.mark.parametrize(
    ('name', 'typed', 'left'),
    [
        ('family', 'direct', {'dfa'}),
        ('panel', 'MNIST, fully connected', {'bp', 'dfa', 'dtp'}),
        ('work', '1.05', {'bp', 'dfa'}),
        ('name', 'D', {'dfa', 'dtp'}),
    ],
)
def test_filters_leave_the_rows_that_fit(opened, name, typed, left):
    opened.find_element('name', name).send_keys(typed)
    assert set(shown(opened)) == left
    figures = opened.find_elements('css selector', '.small figure')
    assert {x.get_attribute('data-rule') for x in figures if x.is_displayed()} == left
    assert opened.find_element('id', 'count').text == f'{len(left)} of 4 rows'


def test_a_rule_unfolds_to_its_equations(opened):
    fold = opened.find_element('css selector', 'tbody[data-rule=dfa] details')
    assert not fold.find_element('css selector', 'pre').is_displayed()
    fold.find_element('css selector', 'summary').click()
    assert fold.find_element('css selector', 'pre').text.split() == rules.equations('dfa').split()


def test_no_request_leaves_the_page(browser, page):
    browser.get_log('performance')
    browser.get(page.as_uri())
    click(browser, 'work (BP)')
    events = [json.loads(each['message'])['message'] for each in browser.get_log('performance')]
    asked = [
        event['params']['request']['url']
        for event in events
        if event['method'] == 'Network.requestWillBeSent'
    ]
    assert page.as_uri() in asked
    assert all(each == page.as_uri() or each.startswith('data:') for each in asked)
    assert not browser.get_log('browser')  # no error of the script


def test_a_phone_scrolls_the_table_and_not_the_page(opened):
    phone = {'width': 390, 'height': 800, 'deviceScaleFactor': 1, 'mobile': True}
    opened.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', phone)
    try:
        opened.refresh()
        for fold in opened.find_elements('css selector', 'details'):
            opened.execute_script('arguments[0].open = true', fold)
        wide, seen = opened.execute_script(
            'return [document.documentElement.scrollWidth, window.innerWidth]'
        )
        assert wide == seen == 390
        table = opened.find_element('css selector', '.wide')
        assert int(table.get_property('scrollWidth')) > 390
    finally:
        opened.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
