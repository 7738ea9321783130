"""The model card of an exported agent: Markdown with the header that Hugging Face reads."""

import json
from collections.abc import Mapping
from typing import Any

from jaxdqn.settings import config, setting

_LOADING = {
    "stablehlo": """import jax.export  # with flatbuffers installed
import numpy as np

with open("policy.stablehlo", "rb") as file:
    network = jax.export.deserialize(bytearray(file.read()))
q_values = np.asarray(network.call(observation))""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("policy.onnx")
(q_values,) = session.run(["q_values"], {"observation": observation})""",
    "safetensors": """import safetensors.numpy

parameters = safetensors.numpy.load_file("policy.safetensors")""",
}


def options_key(source: str) -> str:
    """What `policy.json` calls the options for a source's own library, as 'envpool_options'."""
    return f"{source.lower()}_options"


def write(described: Mapping[str, Any]) -> str:
    """A model card.

    Args:
      described: what `export.describe` says of the export.
    """
    env, policy, score = described["env"], described["policy"], described["scores"]
    shape = " x ".join(map(str, policy["input"]["shape"]))
    fewest, most = env["frames_per_step"]
    lines = [
        *_header(described),
        "",
        f"# Deep Q-network for {env['game']}",
        "",
        f"Trained by jaxdqn for {described['checkpoint']:,} "
        f"agent steps ({described['frames']:,} frames) on {env['source']}'s `{env['id']}`.",
        "",
        "## Score",
        "",
        *_score(score),
        "",
        "## Use",
        "",
        f"`{policy['file']}` takes observations [{shape}] {policy['input']['dtype']} "
        f"({policy['input']['meaning']}) and gives action values [batch x "
        f"{len(described['actions'])}]; the policy takes the action with the largest. Actions: "
        f"{', '.join(described['actions'])}. `policy.json` says the same for programs.",
        "",
        "```python",
        _LOADING[policy["kind"]],
        "```",
        "",
        "An observation is made so:",
        "",
        *(f"{i}. {text}" for i, text in enumerate(described["preprocessing"], start=1)),
        "",
        f"{env['source']} gives the frames with these options: "
        f"`{json.dumps(env[options_key(env['source'])], sort_keys=True)}`"
        + ("." if fewest == most else "; the nearest, since its steps are equally long."),
        "",
        "## Training",
        "",
        "| setting | value |",
        "|---|---|",
        *(
            f"| {name} | {_cell(described['settings'][name])} |"
            for name, each in setting.described(config.Config).items()
            if each.on_card
        ),
        "",
        "Exported with "
        + ", ".join(f"{name} {version}" for name, version in described["versions"].items())
        + ".",
        "",
        "## Limits",
        "",
        f"It plays {env['game']} under these conditions and is good for nothing else. On "
        f"{described['check']['frames']} frames of play the file and the network in float32 "
        f"differ by at most {described['check']['largest_difference']:.1g} in action values of up "
        f"to {described['check']['largest_q_value']:.3g}.",
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return json.dumps(value).replace("|", "\\|").replace("<", "&lt;")


def _header(described: Mapping[str, Any]) -> list[str]:
    """YAML, of which JSON is a part."""
    env, score = described["env"], described["scores"]
    header: dict[str, Any] = {
        "library_name": "jaxdqn",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["reinforcement-learning", "deep-q-network", "dqn", "jax", env["id"]],
    }
    if score:
        metric = {
            "type": "mean_reward",
            "name": "mean_reward",
            "value": f"{score['return_mean']:.2f} +/- {score['return_std']:.2f}",
            "verified": False,
        }
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"name": env["id"], "type": env["id"]},
            "metrics": [metric],
        }
        header["model-index"] = [{"name": "DQN", "results": [result]}]
    return ["---", *(f"{name}: {json.dumps(value)}" for name, value in header.items()), "---"]


def _score(score: Mapping[str, Any] | None) -> list[str]:
    if not score:
        return ["The run did not score itself at this step."]
    lines = [
        f"Mean return {score['return_mean']:.2f}, standard deviation {score['return_std']:.2f}, "
        f"over {score['episodes']} whole games with {score['epsilon']:.1%} random actions; "
        "returns are the game's own, unclipped."
    ]
    if score["human_normalised"] is not None:
        lines.append(
            f"Random play scores {score['random']:g}, a human tester {score['human']:g}: "
            f"{score['human_normalised']:.0%} of the way."
        )
    return lines
