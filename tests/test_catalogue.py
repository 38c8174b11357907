"""Rules by name: those of the catalogue, and the user's own."""

import math
import sys

import jax
import pytest
from problems import CLASSES, HIDDEN, IN_SHAPE, feedforward

from bioprop import rules
from bioprop.errors import UserError

SOURCE = """
from bioprop.rules import Hyperparameter, bp

def mine(sign, /, units, width=3, make=bp, *, gain=2.0, **others):
    return bp()._replace(hparams=(Hyperparameter(sign),))

def signed(sign):
    return mine(sign, 3)

def bare():
    return bp()._replace(hparams=('scale',))

def nothing():
    return None

def broken():
    raise RuntimeError('no luck')

unknown = type('Unknown', (), {'__signature__': 3, '__call__': lambda self: bp()})()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The module of the source above."""
    (tmp_path / 'users_own_rule.py').write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'users_own_rule', raising=False)


def test_get_suggests_the_name_that_was_meant():
    with pytest.raises(UserError, match="no rule 'stdp'; did you mean 'sdtp'"):
        rules.get('stdp')


def test_get_lists_the_names_where_none_is_near():
    with pytest.raises(UserError, match=f'known: {", ".join(sorted(rules.RULES))}'):
        rules.get('zzzzzz')


def test_get_passes_the_options_on():
    network = feedforward(IN_SHAPE, HIDDEN, CLASSES)
    rule = rules.get('ao_sdtp', auxiliary_units=11)
    weights = rules.init_weights(jax.random.key(0), network, rule)
    assert weights['fixed'].shape == (HIDDEN[-1], 11)


def test_get_refuses_an_option_that_the_rule_does_not_take():
    with pytest.raises(UserError, match=r"rule 'bp' does not take the options.*units"):
        rules.get('bp', units=3)


def test_get_loads_a_rule_from_the_users_own_module(own):
    assert rules.get('users_own_rule:signed', sign='plus').names == ('plus',)
    with pytest.raises(UserError, match='users_own_rule:yours'):
        rules.get('users_own_rule:yours')
    with pytest.raises(UserError, match='cannot be loaded: No module named'):
        rules.get('no_module_of_this_name:mine')


@pytest.mark.parametrize(
    ('function', 'words'),
    [
        ('bare', r"hparams must be a tuple of bioprop.Hyperparameter.*\('scale',\)"),
        ('nothing', 'must be a function that returns a bioprop.Rule'),
        ('broken', 'cannot be made: .*no luck'),
    ],
)
def test_get_says_what_is_wrong_with_a_rule_of_the_users_own(function, words, own):
    with pytest.raises(UserError, match=words):
        rules.get(f'users_own_rule:{function}')


def test_options_are_the_plain_arguments_that_have_a_name(own):
    """A value that must be given is None; what no configuration can hold is left out."""
    found = rules.options('users_own_rule:mine')
    assert found == {'units': None, 'width': 3, 'gain': 2.0}
    assert rules.options('users_own_rule:unknown') == {}


def test_the_users_own_rule_is_called_by_its_function(own):
    entry = rules.entry('users_own_rule:bare')
    assert (entry.make.__name__, entry.label, entry.family) == ('bare', 'bare', 'own')
    assert rules.entry('dtp') is rules.CATALOGUE['dtp']


def test_a_hyperparameter_is_left_as_it_is_unless_it_says_more():
    assert rules.Hyperparameter('x') == ('x', None, None, None, False, -math.inf)


def test_ranges_are_those_of_table_4_and_scales_those_of_the_papers():
    """A search draws sigma and alpha evenly from [0.01, 0.4]; squared distances count once."""
    drawn = {'default': None, 'low': 0.01, 'high': 0.4, 'log': False, 'least': 0}
    fixed = {'default': 1.0, 'low': None, 'high': None, 'log': False, 'least': 0}
    expected = {'scale': fixed, 'inverse_scale': fixed, 'sigma': drawn, 'alpha': drawn}
    found = {each.name: each._asdict() for each in rules.get('dtp').hparams}
    assert {name: told | {'name': name} for name, told in expected.items()} == found
    for name in ('sdtp', 'ao_sdtp'):
        assert rules.get(name).names == ('scale', 'inverse_scale', 'sigma')
    for name in ('fa', 'dfa'):
        assert rules.get(name).hparams == (('feedback_scale', *list(fixed.values())[:4], 0),)


def test_defaults_are_those_that_the_docstrings_speak_of():
    """Table 3 has 256 auxiliary units; what equilibrium propagation takes was measured."""
    assert rules.options('ao_sdtp') == {'auxiliary_units': 256, 'inverse': 'after'}
    assert rules.options('dtp') == {'start': 'penultimate', 'inverse': 'after', 'sweeps': 1}
    assert rules.options('dfa') == {'feedback': 'stored'}
    usual = {'nudge': 'centred', 'form': 'energy', 'free_steps': 20, 'nudged_steps': 12}
    assert rules.options('equilibrium_propagation') == usual
    assert rules.get('equilibrium_propagation').hparams == (
        ('beta', 0.5, 0.05, 1.0, True, 0),
        ('gamma', 0.1, 0.02, 0.5, True, 0),
    )


def test_every_entry_says_whence_it_comes():
    for name, entry in rules.CATALOGUE.items():
        assert isinstance(rules.get(name), rules.Rule)
        assert all((entry.label, entry.family, entry.sources)), name
    labels = [entry.label for entry in rules.CATALOGUE.values()]
    assert len(set(labels)) == len(labels)
