"""Several processes make one run, and what becomes of it when one of them is lost."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.agent import actor as actor_lib
from jaxdqn.distributed import joining, mesh, signals, turn_notes
from jaxdqn.distributed import processes as processes_lib
from jaxdqn.envs import episodes, registry
from jaxdqn.exporting import export
from jaxdqn.playing import evaluation
from jaxdqn.rundir import trained_agent
from tests import program, saved, toy_networks, updates

FLAGS = (
    "--env=CartPole",
    "--preset=classic",
    "--num_envs=8",
    "--total_steps=1200",
    "--learning_starts_steps=200",
)
FLAGS += ("--replay_capacity=1000", "--eval_every_steps=400", "--eval_episodes=8")
FLAGS += ("--checkpoint_every_steps=400", "--log_every_steps=100", "--hidden_sizes=32")
FLAGS += ("--steps_per_update=4", "--env_lifetime_steps=94", "--max_episode_steps=50")

# Prints, when a run is over, the parameters that each device of this process has.
PRINT_PARAMETERS = """
import hashlib, jax
from jaxdqn.training import endings
finish, digests = endings.finish, set()
def finish_and_print(run, how):
    code = finish(run, how)
    leaves = jax.tree.leaves(run.state.train_state.params)
    for device in zip(*(leaf.addressable_shards for leaf in leaves)):
        parameters = b"".join(jax.device_get(shard.data).tobytes() for shard in device)
        digests.add(hashlib.sha256(parameters).hexdigest())
    print("parameters", *digests)
    return code
endings.finish = finish_and_print
"""


# JAX keeps what process 0 compiles. Here each keeps its own, or it would compile it in each test.
KEEP_COMPILED = """
from jax._src import compilation_cache, compiler
def write(key, seconds, name, backend, executable):
    compilation_cache.put_executable_and_time(key, name, executable, backend, int(seconds))
compiler._cache_write = write
"""


# A film of a game that takes a minute.
SLOW_FILM = """
import time
from jaxdqn.playing import moments as moments_lib
real = moments_lib.play
def slow_play(*args, **how):
    print("filming", flush=True)
    for moment in real(*args, **how):
        time.sleep(0.5)
        yield moment._replace(is_last=False)
moments_lib.play = slow_play
"""


def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(count, path, *more, flags=FLAGS, driver="", num_devices=1, folders=None):
    """Processes of a run, each with so many devices, and where they stand."""
    where = (*flags, f"--run_dir={path}", f"--coordinator_address={address()}", *more)
    return [
        program.Program(
            "jaxdqn.train",
            (*where, f"--num_processes={count}", f"--process_id={i}"),
            KEEP_COMPILED + driver,
            cwd=folders and folders[i],
            num_devices=num_devices,
        )
        for i in range(count)
    ]


def end(processes):
    """Exit codes, what was printed, and errors."""
    ends = [process.end() for process in processes]
    printed, errors = zip(*ends, strict=True)
    return [process.returncode for process in processes], printed, errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """One process with two devices."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    result = program.train(*FLAGS, f"--run_dir={path}", num_devices=2)
    assert result.returncode == 0, result.stderr
    return path


def printed_parameters(printed):
    """What two processes with `PRINT_PARAMETERS` both print."""
    one, two = (re.findall("parameters (.*)", text) for text in printed)
    assert len(one) == 1 and one == two
    return one[0]


def test_two_processes_do_what_two_devices_do(tmp_path, undisturbed):
    """The same games, updates and evaluations, bit for bit; one of them prints the rows."""
    codes, printed, errors = end(start(2, tmp_path / "run", driver=PRINT_PARAMETERS))
    assert codes == [0, 0], errors
    parameters = printed_parameters(printed)
    program.assert_same_end(tmp_path / "run", undisturbed)
    assert "2 x cpu, of 2 processes" in printed[0] and "complete, 1,2" in printed[0]
    others = [line for line in printed[1].splitlines() if not line.startswith("[Gloo]")]
    assert others == [f"parameters {parameters}"]


# What adds state of its own to a run, or learns in another way.
FAMILY = {
    "rainbow": (
        "--sampler=prioritized",
        "--noisy",
        "--head=c51",
        "--dueling",
        "--priority_exponent=0.5",
        "--importance_start=0.5",
        "--batch_size=16",
        "--num_atoms=11",
    ),
    "m_iqn": ("--algorithm=munchausen", "--head=iqn", "--num_quantiles=8", "--layer_norm=channels"),
    "pqn": ("--algorithm=pqn", "--n_step=1", "--rollout_steps=16", "--optimizer=radam"),
}


@pytest.mark.parametrize("name", FAMILY)
def test_all_algorithms_go_on_as_processes_and_as_devices(tmp_path, name):
    """Begun by two processes, stopped, and ended by one: as if one had done it all."""
    unread = ("--learning_starts_steps", "--steps_per_update") if name == "pqn" else ()
    kept = [flag for flag in FLAGS if not flag.startswith(unread)]
    flags = (*kept, *FAMILY[name], "--total_steps=800")
    straight = program.train(*flags, f"--run_dir={tmp_path / 'straight'}", num_devices=2)
    assert straight.returncode == 0, straight.stderr
    processes = start(2, tmp_path / "run", flags=flags)
    processes[0].wait_for("step 5")
    end_by_signal_to_the_second(processes)
    result = program.train(*flags, f"--run_dir={tmp_path / 'run'}", num_devices=2)
    assert "resuming from step" in result.stdout, result.stderr
    program.assert_same_end(tmp_path / "run", tmp_path / "straight")


def test_all_processes_begin_with_the_parameters_of_an_agent(tmp_path):
    """Nothing is learned, so that the checkpoint at the end has them."""
    agent = saved.make_agent("CartPole", {"hidden_sizes": (32,)})
    export.export(agent, "safetensors", tmp_path / "agent")
    flags = (*FLAGS, "--total_steps=200", "--eval_every_steps=0", "--eval_episodes=0")
    codes, _, errors = end(
        start(2, tmp_path / "run", f"--initial_agent={tmp_path / 'agent'}", flags=flags)
    )
    assert codes == [0, 0], errors
    found = trained_agent.load(tmp_path / "run", "latest").params
    jax.tree.map(np.testing.assert_array_equal, found, agent.params)


def end_by_signal_to_the_second(processes):
    """Sends SIGTERM to one of two, sees that both leave in time, and returns what they printed."""
    processes[1].send_signal(signal.SIGTERM)
    began = time.monotonic()
    codes, printed, errors = end(processes)
    assert codes == [143, 143], errors
    assert time.monotonic() - began < 15
    return printed


def test_an_update_that_is_not_finite_ends_all(tmp_path):
    codes, _, errors = end(start(2, tmp_path / "run", "--loss=mse", "--reward_scale=1e30"))
    assert codes == [3, 3], errors
    assert all("update 1: loss is inf" in text for text in errors)


def test_a_signal_to_one_stops_all(tmp_path, undisturbed):
    processes = start(2, tmp_path / "run")
    processes[0].wait_for("step 6")
    printed = end_by_signal_to_the_second(processes)
    assert "resumes from there" in printed[0]
    codes, printed, errors = end(start(2, tmp_path / "run"))
    assert codes == [0, 0], errors
    assert re.search(r"resuming from step (6|7)\d\d", printed[0])
    program.assert_same_end(tmp_path / "run", undisturbed)


def test_a_lost_process_is_noticed_and_the_run_goes_on(tmp_path, undisturbed):
    for victim, at in ((1, 400), (0, 800)):
        processes = start(2, tmp_path / "run")
        program.wait_for_checkpoint(tmp_path / "run", at)
        processes[victim].send_signal(signal.SIGKILL)
        began = time.monotonic()
        codes, _, errors = end(processes)
        assert time.monotonic() - began < 60
        assert codes[victim] == -signal.SIGKILL and codes[1 - victim] not in (0, None)
        # Ours, or that of JAX's own watch over process 0, whichever comes first.
        told = "another process of this run is gone|another task died"
        assert re.search(told, errors[1 - victim]), errors
    codes, printed, errors = end(start(2, tmp_path / "run"))
    assert codes == [0, 0], errors
    assert "resuming from step 8" in printed[0]
    program.assert_same_end(tmp_path / "run", undisturbed)


def test_a_process_that_stands_still_is_noticed(tmp_path):
    """It closes no connection, so that only the watch over all processes can notice."""
    processes = start(2, tmp_path / "run")
    processes[0].wait_for("step 3")
    processes[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    _, errors = processes[0].end()
    assert time.monotonic() - began < 60
    assert processes[0].returncode not in (0, None) and "another task died" in errors, errors
    processes[1].kill()
    processes[1].end()


@pytest.fixture
def two_hosts():
    """Names and addresses of two network namespaces with a cable between them."""
    hosts_of, etc = {"jaxdqn-a": "10.77.0.1", "jaxdqn-b": "10.77.0.2"}, pathlib.Path("/etc/netns")

    def ip(words):
        return subprocess.run(["ip", *words.split()], capture_output=True, check=False).returncode

    if not shutil.which("ip") or ip("netns add jaxdqn-a"):
        pytest.skip("no network namespaces can be made here")
    try:
        ip("netns add jaxdqn-b")
        ip("link add cable netns jaxdqn-a type veth peer name cable netns jaxdqn-b")
        for name, address in hosts_of.items():
            for words in (
                f"addr add {address}/24 dev cable",
                "link set cable up",
                "link set lo up",
            ):
                assert ip(f"-n {name} {words}") == 0
            # Gloo listens where the host's own name leads.
            (etc / name).mkdir(parents=True)
            (etc / name / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
        yield hosts_of
    finally:
        for name in hosts_of:
            ip(f"netns del {name}")
            shutil.rmtree(etc / name, ignore_errors=True)


def test_two_hosts_with_addresses_of_their_own(tmp_path, undisturbed, two_hosts):
    (first, *_), path = two_hosts.values(), tmp_path / "run"
    flags = (*FLAGS, f"--run_dir={path}", f"--coordinator_address={first}:4001")
    train = program.command(*flags, "--num_processes=2")
    options = {"env": program.environment(), "stdout": subprocess.PIPE, "text": True}
    processes = []
    for index, name in enumerate(two_hosts):
        inside = ["ip", "netns", "exec", name, "unshare", "--uts"]
        renamed = ["sh", "-c", 'hostname "$0" && exec "$@"', name, *train, f"--process_id={index}"]
        words = [*inside, *renamed]
        processes.append(subprocess.Popen(words, stderr=subprocess.STDOUT, **options))
    printed = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    program.assert_same_end(path, undisturbed)


def rows_of(path):
    """What a checkpoint's replay holds, by slot and environment."""
    blocks = program.saved_replay(path, program.newest(path))
    return {
        name: np.concatenate([blocks[block][name] for block in sorted(blocks, key=int)])
        for name in ("frame", "reward", "action", "flags")
    }


def test_a_run_goes_on_with_other_numbers_of_processes(tmp_path):
    path, flags = tmp_path / "run", ("--replay_capacity=4000", "--eval_episodes=7")
    before = None
    for count, at in ((2, "step 5"), (1, "step 7"), (4, "step 9")):
        processes = start(count, path, *flags)
        processes[0].wait_for(at)
        processes[0].send_signal(signal.SIGTERM)
        codes, printed, errors = end(processes)
        assert set(codes) == {143}, errors
        now = rows_of(path)
        if before is not None:
            assert "has no replay" not in printed[0]
            whole = int(np.flatnonzero(before["frame"].any(axis=(1, 2)))[-1]) - 1
            assert whole > 120
            for name, leaf in before.items():
                np.testing.assert_array_equal(leaf[:whole], now[name][:whole])
        before = now
    several = start(2, path, *flags, num_devices=2, driver=PRINT_PARAMETERS)
    codes, printed, errors = end(several)
    assert codes == [0, 0], errors
    assert "4 x cpu, of 2 processes" in printed[0] and " " not in printed_parameters(printed)
    training, evaluations = program.rows(path)
    steps = [row["step"] for row in training]
    assert steps == sorted(set(steps)) and len(steps) == 12
    assert all(row["samples_per_step"] > 0 for row in training[2:])
    assert [row["eval_episodes"] for row in evaluations] == [7, 7, 7]


@pytest.mark.parametrize(("num_devices", "is_shared"), [(1, True), (2, False)])
def test_one_device_and_two_processes_give_the_same_update(tmp_path, num_devices, is_shared):
    """Within 1e-5: sums are taken in another order.

    Compiled programs are kept only in a folder that both see. Process 0 alone writes them: the
    next start would find them there and nowhere else.
    """
    folders = [tmp_path / "a", tmp_path / ("a" if is_shared else "b")]
    where = address()
    processes = []
    for i, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        flags = (str(tmp_path), where, "2", str(i))
        processes.append(
            program.Program("tests.updates", flags, cwd=folder, num_devices=num_devices)
        )
    codes, printed, errors = end(processes)
    assert codes == [0, 0], errors
    for i, text in enumerate(printed):  # what process 0 finds wrong is wrong for all
        assert f"process {i}: OSError(28, 'disk full'): [Errno 28] disk full: '/folder'" in text
        assert f"process {i}: SettingError('run_dir', 'is no run'): --run_dir: is no run" in text
    assert bool(list(tmp_path.glob("*/cache/*/jit_*"))) == is_shared
    assert not list(tmp_path.glob("*/cache/*/seen-*"))
    one = jax.device_get(jax.tree.leaves(updates.twice(mesh.make_mesh(1), updates.SMALL)))
    two, other = (list(np.load(tmp_path / f"{i}.npz").values()) for i in range(2))
    for a, b, c in zip(one, two, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_array_equal(b, c)


def test_two_processes_learn_cartpole(tmp_path):
    flags = ("--env=CartPole", "--preset=cartpole", "--total_steps=25000", "--seed=2")
    flags += ("--eval_every_steps=5000", "--eval_episodes=16")
    codes, _, errors = end(start(2, tmp_path / "run", flags=flags))
    assert codes == [0, 0], errors
    _, evaluations = program.rows(tmp_path / "run")
    assert max(row["eval_return_mean"] for row in evaluations) >= 475


def test_what_does_not_divide_is_refused(tmp_path):
    codes, _, errors = end(start(3, tmp_path / "run"))
    assert codes == [2, 2, 2]
    for error in errors:
        assert "--num_envs: is 8, which 3 devices cannot share equally; nearest: 6 or 12" in error
    assert not (tmp_path / "run").exists()


def test_processes_with_other_settings_are_refused(tmp_path):
    """Each would have parameters of its own, and think them those of all."""
    where = (*FLAGS, f"--run_dir={tmp_path / 'run'}", f"--coordinator_address={address()}")
    processes = [
        program.start(*where, "--num_processes=2", f"--process_id={i}", f"--seed={i}")
        for i in range(2)
    ]
    codes, _, errors = end(processes)
    assert codes == [2, 2]
    for error in errors:
        assert "error: --num_processes: the processes differ in their settings" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("with_run", [("a", "b"), ("a",)])
def test_processes_with_folders_of_their_own_are_refused(tmp_path, undisturbed, with_run):
    """Each or one finds a run with these settings, on a disk that the other does not see."""
    folders = [tmp_path / "a", tmp_path / "b"]
    folders[1].mkdir()
    for name in with_run:
        shutil.copytree(undisturbed, tmp_path / name / "run")
    impatient = "from jaxdqn.rundir import layout; layout.SEEN_WITHIN_S = 2"
    codes, _, errors = end(start(2, "run", driver=impatient, folders=folders))
    assert codes[1] == 1 and codes[0] not in (0, None)
    assert "--run_dir: run is not the same folder in all processes" in errors[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--num_processes=2"], "--coordinator_address: needs --num_processes"),
        (["--coordinator_address=here", "--num_processes=2", "--process_id=0"], "host:port"),
        (["--coordinator_address=a:1", "--num_processes=2", "--process_id=2"], "from 0 to 1 of 2"),
    ],
)
def test_a_wrong_place_among_processes_is_refused(tmp_path, words, told):
    result = program.train("--env=CartPole", "--preset=classic", *words, cwd=tmp_path)
    assert result.returncode == 2 and told in result.stderr
    assert result.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_film_of_one_process_is_cut_short_for_another(tmp_path):
    """The others wait for it, and it hears what they hear."""
    processes = start(2, tmp_path / "run", "--record_every_steps=400", driver=SLOW_FILM)
    processes[0].wait_for("filming")
    printed = end_by_signal_to_the_second(processes)
    assert "no film: interrupted by a signal to stop" in printed[0]
    assert not list((tmp_path / "run" / "videos").glob("*.mp4"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "CUDA_VISIBLE_DEVICES": "0,1"}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "CUDA_VISIBLE_DEVICES": "1"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "JAX_LOCAL_DEVICE_IDS": "0,1"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, None),  # one process has all of its machine
    ],
)
def test_processes_of_open_mpi_share_out_the_devices(monkeypatch, environment, expected):
    """Of version 5, which JAX does not know."""
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_LOCAL_DEVICE_IDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment | {"OMPI_COMM_WORLD_LOCAL_RANK": "1"}).items():
        monkeypatch.setenv(name, value)
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **how: given.update(a=args))
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    joining.join("here:1", None, None)
    assert given["a"] == ("here:1", 4, 3, expected)


def test_a_tpu_whose_machine_knows_of_no_others_is_used_alone(monkeypatch, capsys):
    def initialize(*args, **how):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(joining, "launcher", lambda: "Cloud TPU")
    joining.join(None, None, None)
    assert "alone" in capsys.readouterr().err
    monkeypatch.setattr(joining, "launcher", lambda: "SLURM")
    with pytest.raises(errors.RunError, match="cannot be reached"):
        joining.join(None, None, None)


def test_a_note_keeps_what_it_is_told():
    games = [episodes.Game(1, 0.1 + 0.2, 70_000, True), episodes.Game(3, -2.5, 1, False)]
    note = turn_notes.write(5, games, signum=15)
    assert turn_notes.games(note) == games
    assert turn_notes.signals(note).tolist() == [15] * 5
    assert turn_notes.games(turn_notes.write(2, [], signum=0)) == []


def test_work_goes_on_until_a_signal_comes():
    request, done = signals.StopRequest(), []

    def work():
        for number in range(5):
            done.append(number)
            if number == 2:
                request.signum = signal.SIGTERM
            yield

    assert processes_lib.Stop(request).run_until_stopped(iter(()))
    assert not processes_lib.Stop(request).run_until_stopped(work()) and done == [0, 1, 2]


def test_alone_a_process_is_all_there_are():
    assert (
        processes_lib.count() == 1
        and processes_lib.is_primary()
        and list(processes_lib.share(7)) == list(range(7))
    )
    array = np.array([[0.1, np.nan]])
    np.testing.assert_array_equal(processes_lib.gather(array), array[None])
    assert (
        processes_lib.from_primary(lambda: None) is None
        and processes_lib.from_primary(lambda: 5) == 5
    )


def test_a_share_of_the_environments_plays_as_among_all(key):
    """Emulators, random frame skips and random actions are the same, whoever runs them."""
    options = {"frame_skip": 4, "frame_skip_min": 2, "max_episode_steps": 60}
    network = toy_networks.network(lambda params, seen: jnp.zeros((seen.shape[0], 4)))
    shape = {"frame_shape": (84, 84), "frame_dtype": jnp.uint8, "frame_stack": 1}
    actor = evaluation.compiled(actor_lib.make_actor(network, **shape))
    shown = []
    for envs in (range(5), range(2, 4)):
        env = registry.make("Breakout-v5", len(envs), 7 + envs.start, options)
        state, own = actor.init(key, len(envs)), slice(2 - envs.start, 4 - envs.start)
        shown.append([])
        for _ in range(100):
            step = env.receive()
            state, actions, _ = actor.act(
                None, state, step.frame, step.is_first, np.float32(0.9), np.array(envs), 5
            )
            shown[-1].append([leaf[own] for leaf in (*step, np.asarray(actions))])
            env.send(np.asarray(actions))
        env.close()
    jax.tree.map(np.testing.assert_array_equal, *shown)


@pytest.mark.parametrize(
    ("variables", "flags", "message"),
    [
        ({"SLURM_STEP_NUM_TASKS": "x"}, (), "SLURM_STEP_NUM_TASKS is 'x', not a number"),
        ({"OMPI_COMM_WORLD_SIZE": "x"}, (), "OMPI_COMM_WORLD_SIZE is 'x', not a number"),
        (
            {"OMPI_COMM_WORLD_SIZE": "2"},
            ("localhost:1234", None, None),
            "OMPI_COMM_WORLD_RANK is not set; --num_processes=1 runs alone",
        ),
        ({"SLURM_STEP_NUM_TASKS": "2"}, (), "the others of SLURM cannot be reached: "),
    ],
)
def test_variables_of_launchers_that_cannot_be(monkeypatch, variables, flags, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.RunError, match=message):
        joining.join(*(flags or (None, None, None)))
    joining.join(None, 1, None)  # alone, whatever they say


def test_a_variable_that_jax_itself_misses(tmp_path, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", "1.tcp://1.2.3.4:5")
    done = program.train("--env=CartPole", "--preset=classic", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the others of Open MPI cannot be reached: ")
    assert line.endswith("'OMPI_COMM_WORLD_RANK' is not set; --num_processes=1 runs alone")


def test_an_empty_variable_of_a_launcher_is_none(monkeypatch):
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.setenv(name, "")
    joining.join(None, None, None)
    assert processes_lib.count() == 1


@pytest.mark.parametrize("address", ["localhost", ":1234", "localhost:", "localhost:99999", "h:0"])
def test_addresses_that_cannot_be(address):
    with pytest.raises(errors.SettingError, match="port 1 to 65535"):
        joining.join(address, 2, 0)
