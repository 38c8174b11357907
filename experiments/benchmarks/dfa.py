"""Signals of DFA whose feedback is stored, against the same feedback regenerated in blocks.

The feedback is that of a net of table 3: units of its hidden layers x outputs. A call makes the
signals of every hidden layer from the logits of a batch; the net itself is not run.
"""

import jax
from absl import flags

from bioprop import rules
from bioprop.losses import softmax_cross_entropy
from bioprop.rules import Context
from bioprop.training.crowd import program_bytes
from experiments.benchmarks import step, timing
from experiments.benchmarks.nets import Net, paper_net

flags.declare_key_flag('net')


def default_batch() -> int:
    """Examples a step."""
    return step.default_batch()


class Signals:
    """A call that makes the signals of a rule, from weights that it draws."""

    def __init__(self, rule: rules.Rule, net: Net, batch: int):
        shapes = jax.eval_shape(
            lambda key, x: net.network.states(net.network.init(key), x),
            jax.random.key(0), jax.ShapeDtypeStruct((batch, *net.in_shape), float),
        )  # fmt: skip

        def signals(fixed, logits, label, scale):
            context = Context(
                softmax_cross_entropy, {'label': label}, jax.random.key(0),
                {'feedback_scale': scale},
            )  # fmt: skip
            states = (*shapes[:-1], logits)
            return rule.signals(net.network, {'fixed': fixed}, states, context)

        _, fixed = jax.jit(lambda key: rule.init(key, net.network, ()))(jax.random.key(1))
        logits = jax.random.normal(jax.random.key(2), shapes[-1].shape)
        label = jax.random.randint(jax.random.key(3), (batch,), 0, net.outputs)
        self.arguments = fixed, logits, label, 1.0
        self.program = jax.jit(signals).lower(*self.arguments).compile()

    def __call__(self):
        """(delta_1, ..., delta_L)."""
        return self.program(*self.arguments)


def rows(batch_size: int, seconds: float) -> list[dict]:
    """The rows of the net that --net names."""
    return net_rows(paper_net(step.NET.value), batch_size, seconds)


def net_rows(net: Net, batch_size: int, seconds: float) -> list[dict]:
    """One row a contestant: ms, and all bytes of its program, both with ratios to the stored."""
    contestants = {
        name: Signals(rules.dfa(feedback=name), net, batch_size)
        for name in ('stored', 'regenerated')
    }
    least = timing.interleave(contestants, seconds)
    needed = {name: program_bytes(each.program) for name, each in contestants.items()}
    return [
        {
            'contestant': name,
            'ms_signals': least[name],
            'ratio_to_stored': least[name] / least['stored'],
            'peak_bytes': needed[name],
            'bytes_to_stored': needed[name] / needed['stored'],
        }
        for name in contestants
    ]
