"""Gymnasium as a source of environments."""

from jaxdqn.envs import api
from jaxdqn.envs.gymnasium import games, specs, workers

SOURCE = api.Source(
    name=games.SOURCE,
    resolve=games.resolve,
    load=games.load,
    plain_names=list,
    ids=games.all_ids,
    game=games.info,
    describe=specs.describe,
    make=workers.GymnasiumEnv,
    export_options=specs.export_options,
)
