"""Direct feedback: what is sent to every layer, whatever it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import CLASSES, problem

from bioprop import rules

pytestmark = pytest.mark.usefixtures('quick')
NETS = {'fc': (7, 6, 5), 'lc': ((2, 3, 1), 5), 'conv': ((2, 3, 1), 5)}


def teaching(loss, output, label):
    return {
        'dfa': loss.error(output, label),
        'sign_dfa': jnp.sign(loss.error(output, label)),
        'drtp': jax.nn.one_hot(label, CLASSES),
        'shallow': jnp.zeros_like(output),
    }


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('name', ['dfa', 'sign_dfa', 'drtp', 'shallow'])
def test_hidden_layers_are_told_the_teaching_vector_times_b_and_the_top_its_error(name, net, x64):
    p = problem(name, hidden=NETS[net], net=net).with_hparams(feedback_scale=0.8)
    output, label = p.states[-1], p.batch['label']
    told = teaching(p.loss, output, label)[name]
    *hidden, top = p.deltas()
    np.testing.assert_array_equal(top, p.loss.error(output, label))
    for l, delta in enumerate(hidden):
        expected = 0 if name == 'shallow' else 0.8 * told @ p.weights['fixed'][l].T
        np.testing.assert_allclose(
            delta.reshape(len(delta), -1), jnp.broadcast_to(expected, (len(delta), delta[0].size)),
            rtol=1e-12,
        )  # fmt: skip


def test_under_drtp_all_examples_of_a_class_are_told_the_same_whatever_the_net_says(x64):
    p = problem('drtp', size=20)
    other = p._replace(weights=p.weights | {'forward': problem('drtp', seed=5).weights['forward']})
    for delta, same in zip(p.deltas()[:-1], other.deltas()[:-1], strict=True):
        np.testing.assert_array_equal(delta, same)
        for label in range(CLASSES):
            rows = delta[p.batch['label'] == label]
            np.testing.assert_array_equal(rows, jnp.broadcast_to(rows[:1], rows.shape))


def test_under_a_softmax_the_sign_of_the_error_is_that_of_the_label_alone(x64):
    """It is 1 - 2 y: sign DFA is DRTP through B (1 1^T - 2), and says no more of the output."""
    p = problem('sign_dfa')
    through = np.ones((CLASSES, CLASSES)) - 2 * np.eye(CLASSES)
    fixed = (*(b @ through for b in p.weights['fixed'][:-1]), None)
    drtp = p._replace(rule=rules.drtp(), weights=p.weights | {'fixed': fixed})
    for delta, same in zip(p.deltas(), drtp.deltas(), strict=True):
        np.testing.assert_allclose(delta, same, rtol=1e-12)


@pytest.mark.parametrize('name', ['sign_dfa', 'drtp'])
def test_feedback_that_is_drawn_again_is_the_stored_one(name):
    p = problem(name)
    network = p.network
    weights = [
        rules.init_weights(p.key, network, rules.get(name, feedback=kind))
        for kind in ('stored', 'regenerated')
    ]
    drawn = p._replace(rule=rules.get(name, feedback='regenerated'), weights=weights[1])
    for a, b in zip(p._replace(weights=weights[0]).deltas(), drawn.deltas(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('net', NETS)
def test_direct_kolen_pollack_sends_the_error_through_b_which_takes_the_steps_of_w(net, x64):
    """dB_l is the mean of h_l (x) e; that of the last hidden layer is dW_L^T, and B is W there."""
    p = problem('direct_kolen_pollack', hidden=NETS[net], net=net)
    error = p.loss.error(p.states[-1], p.batch['label'])
    found = p.updates()
    for l, own in enumerate(p.weights['feedback'][:-1], start=1):
        h = p.states[l].reshape(len(error), -1)
        np.testing.assert_allclose(
            p.deltas()[l - 1].reshape(h.shape), error @ own['kernel'].T, rtol=1e-12
        )
        np.testing.assert_allclose(
            found['feedback'][l - 1]['kernel'], h.T @ error / len(h), rtol=1e-12
        )
    np.testing.assert_allclose(
        found['feedback'][-2]['kernel'], found['forward'][-1]['kernel'], rtol=1e-12
    )


@pytest.mark.parametrize('net', NETS)
def test_error_broadcast_descends_the_correlation_of_activities_with_the_error(net, x64):
    """Where R is the batch's own: its size times the gradient of |R|^2 / 2 by h_l, e held still."""
    p = problem('error_broadcast', hidden=NETS[net], net=net)
    error = p.loss.error(p.states[-1], p.batch['label'])

    def correlation(h):
        return h.reshape(len(h), -1).T @ error / len(h)

    own = tuple({'kernel': correlation(h)} for h in p.states[1:-1])
    q = p._replace(weights=p.weights | {'feedback': (*own, None)})
    for h, delta in zip(p.states[1:-1], q.deltas(), strict=False):
        slope = jax.grad(lambda h: jnp.sum(jnp.square(correlation(h))) / 2)(h)
        np.testing.assert_allclose(delta, len(h) * slope, rtol=1e-10, atol=1e-14)
    for update in q.updates()['feedback'][:-1]:
        np.testing.assert_allclose(update['kernel'], 0, atol=1e-14)
    pairs = zip(
        p.updates()['feedback'][:-1], p.weights['feedback'][:-1], p.states[1:], strict=False
    )
    for update, was, h in pairs:
        np.testing.assert_allclose(update['kernel'], was['kernel'] - correlation(h), rtol=1e-10)
