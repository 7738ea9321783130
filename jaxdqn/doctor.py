r"""Checks what is installed, and says what is missing and how to get it.

  python -m jaxdqn.doctor

Exits with 1 if a run could not train here.
"""

from jaxdqn.cli import devices, diagnosis, program


def main() -> int:
    """Prints what was found."""
    devices.start_devices()
    findings = list(diagnosis.findings())
    width = max(len(found.subject) for found in findings)
    for found in findings:
        first, *others = found.text.splitlines()
        print(f"{found.subject:>{width}}  {first}")
        for line in others:
            print(f"{'':>{width}}  {line}")
    return 1 if any(found.is_fatal for found in findings) else 0


if __name__ == "__main__":
    program.run_program(devices.define_compilation_cache, main)
