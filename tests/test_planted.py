"""Faults planted in rules of the catalogue: the claims that stand there name each of them."""

import importlib

import jax
import numpy as np
import pytest
from problems import problem

from bioprop import rules
from bioprop.testing import Fault, check_rule

pytestmark = pytest.mark.full
RULES = ('usf', 'frsf', 'weight_mirror')


def changed(rule, change):
    """The rule whose hidden signals are changed."""

    def signals(network, weights, states, context):
        *hidden, top = rule.signals(network, weights, states, context)
        return (*map(change, hidden), top)

    return rule._replace(signals=signals)


def transposed(rule):
    """The rule that goes down through the transpose of every square kernel that it has."""

    def turn(leaf):
        return leaf.T if leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1] else leaf

    def signals(network, weights, states, context):
        return rule.signals(network, jax.tree.map(turn, weights), states, context)

    return rule._replace(signals=signals)


FAULTS = {
    'sign': (lambda rule: changed(rule, lambda delta: -delta), '-1 times what is expected'),
    'factor': (lambda rule: changed(rule, lambda delta: 2 * delta), '2 times what is expected'),
    'transpose': (transposed, 'not the gradient of the loss'),
}


@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('fault', FAULTS)
def test_claims_name_it(name, fault):
    plant, words = FAULTS[fault]
    with pytest.raises(Fault, match=words):
        check_rule(plant(rules.get(name)), **rules.CATALOGUE[name].claims, kinds=('dense',))


def test_without_its_stop_the_second_net_learns_something_else(x64, monkeypatch):
    """The one of the new rules whose layers a missing stop ties together: counter-current."""
    p = problem('counter_current')
    right = p.updates()['feedback']
    module = importlib.import_module('bioprop.rules.counter_current')
    monkeypatch.setattr(module.jax.lax, 'stop_gradient', lambda x: x)
    wrong = p._replace(rule=rules.counter_current()).updates()['feedback']
    assert np.abs(right[-1]['kernel'] - wrong[-1]['kernel']).max() > 1e-3
    np.testing.assert_allclose(right[1]['kernel'], wrong[1]['kernel'], rtol=1e-10)
