"""What small programs hold at their peak, by hand."""

import jax
import jax.numpy as jnp

from bioprop.costs.memory import copied, peak
from bioprop.costs.program import traced

X, W = jax.ShapeDtypeStruct((6, 4), jnp.float32), jax.ShapeDtypeStruct((4, 4), jnp.float32)
STATE = 4 * 6 * 4  # bytes of one like x


def held(function, *arguments, **options):
    return peak(traced(function, *(arguments or (X, W)), **options)).total


def test_what_is_fused_takes_the_place_of_what_it_reads():
    assert held(lambda x, w: jnp.tanh(x @ w + 1) @ w) == STATE
    assert held(lambda x, w: jnp.tanh((2 * x).T.reshape(6, 4)) + 1) == 0
    assert held(lambda x, w: (x @ w).reshape(4, 6).T @ w) == STATE


def test_states_live_until_their_signals_use_them_up():
    """A chain of signals lets go of a state at each layer; signals that come at once do not."""

    def states(x, w):
        found = [x]
        for _ in range(5):
            found.append(jnp.tanh(found[-1] @ w))
        return found

    def chained(x, w):
        below, signal, updates = states(x, w), states(x, w)[-1], []
        for state in below[:0:-1]:
            signal = (signal * state) @ w.T
            updates.append(jnp.sum(state.T @ signal))
        return updates

    def at_once(x, w):
        found = states(x, w)
        return [jnp.sum(state.T @ (found[-1] * (state @ w))) for state in found[1:]]

    assert 5 * STATE < held(chained) < 5 * STATE + 4 * STATE < held(at_once)


def test_a_loop_holds_what_it_fills_in_from_the_first_moment():
    def fill(x):
        def put(i, made):
            return jax.lax.dynamic_update_slice_in_dim(made, x[None], i, axis=0)

        return jax.lax.fori_loop(0, 8, put, jnp.zeros((8, *x.shape)))

    def function(x, w):
        return jnp.sum(fill((x @ w) @ w)), jnp.sum(fill((x @ w) @ w @ w))

    assert held(function) >= 2 * 8 * STATE


def test_a_loop_works_in_the_place_of_its_carry():
    def function(length):
        return lambda x, w: jax.lax.fori_loop(0, length, lambda _, x: jnp.tanh(x @ w), x @ w).sum()

    assert held(function(3)) == held(function(30)) == 2 * STATE


def test_averages_over_devices_wait_for_each_other():
    """Updates that are there one after another must all be there for their average."""

    def updates(x, w):
        found = []
        for _ in range(6):
            x = x @ w
            found.append(x.T @ x)
        return found

    def alone(x, w):
        return list(map(jnp.sum, updates(x, w)))

    def averaged(x, w):
        return list(map(jnp.sum, jax.lax.pmean(updates(x, w), 'devices')))

    update = 4 * 4 * 4
    assert held(averaged, axes=(('devices', 2),)) >= 6 * update > held(alone)


def test_an_input_is_copied_where_it_is_read_after_it_was_written_over():
    def late(w, x):
        return w + 1, (x @ w).sum()

    def first(w, x):
        y = x @ w
        return w + y.sum(), y.sum()

    size = 4 * 4 * 4
    assert copied(traced(late, W, X), donated=1) == size
    assert copied(traced(late, W, X), donated=0) == 0
    assert copied(traced(first, W, X), donated=1) == 0
    assert copied(traced(lambda w, v, x: (*late(w, x)[:1], *late(v, x)), W, W, X), 2) == size
