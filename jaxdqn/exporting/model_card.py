"""The model card of an exported agent: Markdown with a header for Hugging Face."""

import json
from collections.abc import Mapping
from typing import Any

from jaxdqn.exporting import kinds
from jaxdqn.rundir import exported_agent
from jaxdqn.settings import checks, config, setting


def options_key(source: str) -> str:
    """What `policy.json` calls the options for a source's own library, as 'envpool_options'."""
    return f"{source.lower()}_options"


def write(described: Mapping[str, Any]) -> str:
    """A model card.

    Args:
      described: the export, as `export.describe` returns it.
    """
    env, check = described["env"], described["check"]
    run = config.from_stored(described["settings"])
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
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
        *_score(described["scores"]),
        "",
        "## Use",
        "",
        *_use(described),
        "",
        "## Training",
        "",
        *_method(run),
        "",
        "| setting | value |",
        "|---|---|",
        *(
            f"| {name} | {_cell(getattr(run, name))} |"
            for name, each in setting.described(run).items()
            if each.on_card and not run.why_unread(name)
        ),
        *(f"| {name} | {_cell(value)} |" for name, value in run.options.items()),  # of plugins
        "",
        f"Exported with {versions}.",
        "",
        "## Limits",
        "",
        f"It was trained for {env['game']} with these settings only. On "
        f"{check['frames']} frames of play the file and the network in float32 differ by at most "
        f"{check['largest_difference']:.1g} in action values of up to "
        f"{check['largest_q_value']:.3g}.",
        "",
    ]
    return "\n".join(lines)


def _method(run: config.Config) -> list[str]:
    """The parts of the agent, with the papers that they come from."""
    lines = []
    for registry, name in checks.parts(run):
        if not run.why_unread(registry.setting_name):
            entry = registry[name]
            paper = f" ({entry.paper})" if entry.paper else ""
            lines.append(f"- {registry.setting_name} {name}: {entry.text}{paper}")
    for name, each in setting.described(run).items():
        is_off = getattr(run, name) in (False, "none")
        if each.paper and not is_off and not run.why_unread(name):
            lines.append(f"- {name}: {each.help} ({each.paper})")
    return lines


def _use(described: Mapping[str, Any]) -> list[str]:
    """How the file is loaded, and how its observations are made."""
    env, policy = described["env"], described["policy"]
    shape = " x ".join(map(str, policy["input"]["shape"]))
    fewest, most = env["frames_per_step"]
    options = env[options_key(env["source"])]
    shown_options = f"`{json.dumps(options, sort_keys=True)}`" if options else "none"
    opening, use_of_parameters = "", []
    if policy["kind"] == exported_agent.KIND:  # the other formats hold the network itself
        opening = "holds the parameters of a network that "
        use_of_parameters = [
            "",
            "`examples/play_safetensors.py` in the repository of jaxdqn shows the network, but not "
            "the encoders `impala` and `hadamax`.",
            "",
            "jaxdqn scores, films and inspects it, and trains from it: `jaxdqn evaluate "
            "--agent=FOLDER`, `record`, `inspect`, and `jaxdqn train --initial_agent=FOLDER`. On "
            "the Hugging Face Hub, FOLDER is `hf:USER/NAME`.",
        ]
    return [
        f"`{policy['file']}` {opening}takes observations [{shape}] "
        f"{policy['input']['dtype']} ({policy['input']['meaning']}) and returns action values "
        f"[batch x {len(described['actions'])}]; the policy takes the action with the largest. "
        f"Actions: {', '.join(described['actions'])}. `policy.json` says the same for programs.",
        *use_of_parameters,
        "",
        "```python",
        kinds.KINDS[policy["kind"]].loading,
        "```",
        "",
        "How to make an observation:",
        "",
        *(f"{i}. {text}" for i, text in enumerate(described["preprocessing"], start=1)),
        "",
        f"{env['source']} options: {shown_options}"
        + ("." if fewest == most else " (the nearest ones: its steps all have the same length)."),
    ]


def _cell(value: Any) -> str:
    return json.dumps(value).replace("|", "\\|").replace("<", "&lt;")


def _header(described: Mapping[str, Any]) -> list[str]:
    """The YAML header; JSON is valid YAML."""
    env, score = described["env"], described["scores"]
    header: dict[str, Any] = {
        "library_name": "jaxdqn",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["reinforcement-learning", "deep-q-network", *_names(described), "jax", env["id"]],
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
        header["model-index"] = [{"name": "-".join(_names(described)), "results": [result]}]
    return ["---", *(f"{name}: {json.dumps(value)}" for name, value in header.items()), "---"]


def _names(described: Mapping[str, Any]) -> list[str]:
    """Of the algorithm, and of the head where it is not the plain one."""
    run = config.from_stored(described["settings"])
    return [run.algorithm] if run.head == config.Config.head else [run.algorithm, run.head]


def _score(score: Mapping[str, Any] | None) -> list[str]:
    if not score:
        return ["The run did not evaluate itself at this step."]
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
