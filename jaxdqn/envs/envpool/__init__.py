"""EnvPool's environments: the first source that `jaxdqn.envs.registry` knows."""
