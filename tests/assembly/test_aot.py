"""What the compilers of accelerators make of the devices' programs, on a machine that has none.

Run by `pytest -m aot` where the compilers are installed; see `benchmarks.aot`.
"""

import math
import re

import pytest

from benchmarks import aot

pytestmark = pytest.mark.aot
# The most operations that an H100 starts for each turn and for each update: launches take time.
MOST = {
    "atari": (30, 82),
    "atari_fast": (34, 95),
    "c51": (31, 89),
    "qr_dqn": (31, 85),
    "rainbow": (54, 200),
}
CASES = [(target, preset) for target in ("h100", "v5e") for preset in MOST] + [("v6e", "atari")]


@pytest.fixture(scope="module")
def compiled_for():
    aot.look_for_no_device()

    def compile_for(target, preset):
        if problem := aot.why_not(target):
            pytest.skip(f"no compiler for {target}: {problem}")
        return aot.compile_for(target, preset)

    return compile_for


def shapes(text):
    """The sizes of all arrays in a program, as (type, dimensions)."""
    for kind, dims in set(re.findall(r"\b([a-z]+[0-9]+)\[([0-9,]+)\]", text)):
        yield kind, [int(size) for size in dims.split(",")]


@pytest.mark.parametrize(("target", "preset"), CASES)
def test_a_run_compiles_for_an_accelerator(compiled_for, target, preset):
    found = compiled_for(target, preset)
    ring_bytes = found["cut"].argument_bytes
    assert ring_bytes > 7e9
    for name, one in found.items():
        print(target, preset, name, f"{one.temporary_bytes:,} bytes", one.operations)
        assert one.temporary_bytes < 200e6, name
        assert not re.search("callback|host-transfer|outfeed|infeed", one.text), name
        assert all(size < 2**31 for _, dims in shapes(one.text) for size in dims)  # of any index
        if target == "h100" and name != "cut":
            assert one.operations <= MOST[preset][name == "learn"], name
    for name in ("act", "cut"):  # the replay is written in place
        assert found[name].aliased_bytes >= 0.99 * ring_bytes, name
    learn = found["learn"].text
    copied = re.findall(r"= u8\[([0-9,]+)\]\S* (?:copy|transpose|fusion)\(", learn)
    assert all(math.prod(map(int, dims.split(","))) < 1e9 for dims in copied)
    assert len(re.findall(r"= u8\[[0-9,]*\b7056\]\S* gather\(", learn)) == 1
