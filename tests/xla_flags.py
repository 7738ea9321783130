"""What tests ask of XLA."""

# Compiling is most of what tests do. With these it takes a third less time. What is compiled is
# slower, above all loops.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def devices(count):
    """The flag for so many virtual devices."""
    return f"--xla_force_host_platform_device_count={count}"
