"""ALE as a source of environments."""

from jaxdqn.envs import api
from jaxdqn.envs.ale import games, pool, specs

SOURCE = api.Source(
    name=games.SOURCE,
    resolve=games.resolve,
    load=games.load,
    plain_names=list,
    ids=games.all_ids,
    game=games.info,
    describe=specs.describe,
    make=pool.AleEnv,
    export_options=specs.export_options,
)
