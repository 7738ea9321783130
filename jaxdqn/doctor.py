r"""Checks what is installed, and says what is missing and how to get it.

  python -m jaxdqn.doctor

Exits with 1 if a run could not train here.
"""

from jaxdqn.cli import devices, diagnosis, program


def main() -> int:
    """Prints what was found."""
    devices.start_devices()
    code = 0
    for found in diagnosis.findings():
        first, *others = found.text.splitlines()
        print(f"{found.subject:>8}  {first}", *(f"{'':>8}  {line}" for line in others), sep="\n")
        code = 1 if found.is_fatal else code
    return code


if __name__ == "__main__":
    program.run_program(devices.define_compilation_cache, main)
