"""What `--plugins=tests.toys.plugin` imports."""

from tests.toys import toy_algorithm, toy_env, toy_head

toy_algorithm.register()
toy_head.register()
toy_env.register()
