"""Networks that can be worked out by hand, and learners of them."""

import jax

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import losses, networks, q_learning
from jaxdqn.agent.heads import api as heads
from jaxdqn.agent.heads import scalar


def network(q_values, init=lambda key, observation: None):
    """A network of these action values, with the parameters that `init` makes."""
    return networks.Network(
        init=init,
        outputs=lambda params, observation, key=None: heads.Outputs(
            q_values(params, observation)[..., None]
        ),
        q_values=lambda params, observation, key=None: q_values(params, observation),
    )


def linear(params):
    """Q(s, .) = s @ params."""
    return network(lambda params, seen: seen @ params, lambda key, seen: params)


def huber(td_error):
    return losses.huber(td_error, 1.0)


def learner(network, optimizer, *, double_q=True, td_loss=huber, **settings):
    """DQN's learner, whose update takes no key and returns no priorities."""
    head = scalar.scalar(td_loss)
    bootstrap = q_learning.greedy(network, head, double_q=double_q)
    made = learner_lib.make_learner(
        network.init,
        learner_lib.UpdateRule(
            q_learning.make_loss(network, head, bootstrap),
            optimizer,
            has_target=True,
            **settings,
        ),
    )
    return made._replace(update=lambda *args: made.update(*args, jax.random.key(0))[:2])
