"""EnvPool as a source of environments."""

from collections.abc import Mapping
from typing import Any

from jaxdqn.envs import api
from jaxdqn.envs.envpool import frame_skip, games


def _export_options(env_id: str, options: Mapping[str, Any], frame_stack: int) -> dict[str, Any]:
    """The arguments of `envpool.make_gymnasium`; it stacks frames of Atari games alone."""
    stacking = {"stack_num": frame_stack} if games.is_atari(env_id) else {}
    return frame_skip.nearest_fixed(options) | stacking


SOURCE = api.Source(
    name=games.SOURCE,
    resolve=games.resolve,
    plain_names=games.plain_names,
    ids=games.all_ids,
    game=games.info,
    describe=frame_skip.describe,
    make=frame_skip.make,
    export_options=_export_options,
)
