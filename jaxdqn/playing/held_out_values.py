"""What is expected in states that are not used for learning, as in Mnih et al. (2013)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.agent.heads import api as heads
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes
from jaxdqn.envs import api, registry
from jaxdqn.settings import config as config_lib

_ENVS = 16
_LARGEST_SEED = 2**31 - 1 - _ENVS  # to which each adds its number
_STRIDE = 4  # steps between two observations that are kept of an environment
_CHUNK = 32  # observations in one pass of the network
_DISTRIBUTION = ("return_std", "return_entropy")  # of the best action


def observe(
    config: config_lib.Config,
    spec: api.EnvSpec,
    watched: Callable[[api.DrawnEnv], api.DrawnEnv] = lambda env: env,
) -> np.ndarray:
    """Plays at random in separate environments.

    Equal settings and seeds give equal observations, also in a run that resumes.

    Args:
      config: of the run.
      spec: of its environments.
      watched: receives the environments and returns those to play.

    Returns:
      `config.held_out_observations` observations [N, S, *seen_shape].
    """
    actor, count = parts.make_actor(config, spec), config.held_out_observations
    see, state = jax.jit(actor.see), actor.init(jax.random.key(0), _ENVS)
    random, seen = np.random.default_rng(config.seed), []
    seed = min(config.seed, _LARGEST_SEED)
    env = watched(registry.make(config.env, _ENVS, seed, config.env_options))
    try:
        for number in range(-(-count // _ENVS) * _STRIDE):
            step = env.receive()
            state = see(state, jnp.asarray(step.frame), jnp.asarray(step.is_first))
            if number % _STRIDE == 0:
                seen.append(np.asarray(state.stack))
            env.send(random.integers(0, spec.num_actions, _ENVS))
    finally:
        env.close()
    return np.concatenate(seen)[:count]


def measure(
    config: config_lib.Config,
    spec: api.EnvSpec,
    mesh: Mesh,
    watched: Callable[[api.DrawnEnv], api.DrawnEnv],
    say: Callable[[str], None] = print,
) -> Callable[[Any], dict[str, float | None]]:
    """Builds the function from parameters to metrics by name.

    These are the mean of the largest action values; where the head knows the distribution of
    returns, the mean of its standard deviation for the best action; and where the head learns
    probabilities, their entropy in nats. It plays when it is first called. All metrics are None if
    no observations are wanted, or if an environment failed, which `say` is told. The other
    arguments are those of `observe`.
    """
    head, network, replicated = (
        parts.make_head(config),
        parts.make_network(config, spec),
        mesh_lib.REPLICATED,
    )
    held: list[jax.Array | None] = []  # None: an environment failed, and always would

    @mesh_lib.on_mesh(mesh, in_specs=(replicated, replicated), out_specs=replicated)
    def mean(params: Any, observations: jax.Array) -> jax.Array:
        def of_one(observation: jax.Array) -> jax.Array:
            outputs = network.outputs(params, observation[None])
            return jnp.stack(_expected(head, jax.tree.map(lambda leaf: leaf[0], outputs)))

        return jnp.mean(jax.lax.map(of_one, observations, batch_size=_CHUNK), axis=0)

    def played() -> jax.Array | None:
        try:
            observations: np.ndarray | None = observe(config, spec, watched)
        except errors.EnvFailedError as error:
            say(f"WARNING: no held-out observations: {error}")
            observations = None
        if not processes.agreed_by_all(observations is not None):
            if observations is not None:
                say("WARNING: no held-out observations: an environment failed in another process")
            return None
        seen: jax.Array = mesh_lib.put(mesh, observations, replicated)
        return seen

    names = ("avg_max_q_value", *_DISTRIBUTION[: 0 if head.distribution is None else 2])
    names = names if head.is_categorical else names[:2]

    def of(params: Any) -> dict[str, float | None]:
        if not config.held_out_observations:
            return dict.fromkeys(names)
        if not held:
            with jax.transfer_guard("allow"):
                held.append(played())
        if held[0] is None:
            return dict.fromkeys(names)
        values = jax.device_get(mean(params, held[0])).tolist()
        return dict(zip(names, values, strict=True))

    return of


def _expected(head: heads.Head, outputs: heads.Outputs) -> list[jax.Array]:
    """The largest action value; of its action, the spread and the entropy if they are known."""
    values = head.values(outputs)
    if head.distribution is None:
        return [jnp.max(values)]
    returns, probabilities = (x[jnp.argmax(values)] for x in head.distribution(outputs))
    mean = jnp.sum(returns * probabilities)
    spread = jnp.sqrt(jnp.sum(probabilities * (returns - mean) ** 2))
    entropy = [jnp.sum(jax.scipy.special.entr(probabilities))] if head.is_categorical else []
    return [jnp.max(values), spread, *entropy]
