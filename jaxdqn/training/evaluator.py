"""Evaluations and films of a run; training pauses for them."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Generator
from typing import Any

import jax

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh, processes
from jaxdqn.envs import api
from jaxdqn.playing import evaluation
from jaxdqn.rundir import known_curves, metrics, run_films
from jaxdqn.training import environments, seeds
from jaxdqn.training import setup as setup_lib


class Evaluator:
    """Evaluates and films the current parameters without changing the run.

    Args:
      setup: the run.
      envs: starts environments.
      stop: interrupts what is under way.
      writer: receives evaluations and films.
      say: prints a line.
    """

    def __init__(
        self,
        setup: setup_lib.Setup,
        envs: environments.RunEnvs,
        stop: processes.Stop,
        writer: metrics.Rows,
        say: Callable[[str], None],
    ):
        self._setup, self._envs, self._stop, self._writer = setup, envs, stop, writer
        self._say, self._known = say, known_curves.of(setup.config)
        self._actor = evaluation.compiled(parts.make_actor(setup.config, setup.spec))

    def evaluate(self, params: Any, step: int) -> bool:
        """Scores the parameters of a step; returns False if they have no score.

        Then a signal came meanwhile, or an environment failed, of which there is a row.

        Raises:
          EnvNotStartedError: there are no environments to play in now.
        """
        config = self._setup.config
        try:
            with jax.transfer_guard("allow"):
                scores = evaluation.evaluate_together(
                    self._actor,
                    mesh.here(params),
                    functools.partial(self._envs.evaluation, step),
                    num_episodes=config.eval_episodes,
                    epsilon=config.eval_epsilon,
                    key=seeds.key(config.seed, seeds.Stream.EVALUATION, step),
                    stop=self._stop,
                )
        except errors.EnvNotStartedError:
            raise
        except errors.EnvFailedError as error:
            # Its seed follows from the step: it would fail again however often the run resumed.
            self._writer.write(step, metrics.FAILED_EVALUATION)
            self._say(f"WARNING: step {step:,}: no evaluation: {error}")
            return False
        if scores is None:
            return False
        returns = scores.returns
        mean, std = scores.mean_and_std()
        row: dict[str, metrics.Value] = {
            "eval_return_mean": mean,
            "eval_return_std": std,
            "eval_episodes": len(returns),
        }
        self._writer.write(step, row)
        expected = known_curves.expected(self._known, step)
        self._say(
            f"step {step:,}: evaluation: return {mean:.2f} +- {std:.2f} "
            f"({returns.min():g} to {returns.max():g}, {len(returns)} games)"
            + (f"; expected {expected}" if expected else "")
        )
        return True

    def film(self, params: Any, step: int) -> None:
        """The primary process films a game with the parameters of a step, once."""
        path = run_films.path_of(self._setup.path, step)
        work: Generator[None, None, None] = (None for _ in ())
        if processes.is_primary():
            work = self._filming(params, path, step)
        with contextlib.closing(work), jax.transfer_guard("allow"):
            if not self._stop.run_until_stopped(work):
                self._say(f"step {step:,}: no film: interrupted by a signal to stop")

    def _filming(self, params: Any, path: pathlib.Path, step: int) -> Generator[None, None, None]:
        from jaxdqn.playing import recording  # late: most runs draw nothing, and all of them start

        seed = seeds.env_seed(self._setup.config.seed, seeds.Stream.RECORDING, step)
        try:
            if path.exists():  # made before a restart
                return
            path.parent.mkdir(exist_ok=True)
            yield from recording.record_in_training(
                self._setup.config,
                self._setup.spec,
                mesh.here(params),
                path,
                seed=seed,
                watched=functools.partial(self._envs.watched, name="the film's environment"),
                show=functools.partial(self._writer.show_film, step),
            )
        except (errors.RunError, api.UnsupportedEnvError, OSError) as error:
            self._say(f"step {step:,}: no film: {error}")
