"""The page of runs that are under way, as browsers get it."""

import functools
import http.client
import json
import os
import re
import signal
import socket
import threading

import pytest

from jaxdqn import errors
from jaxdqn.reporting import found_runs
from jaxdqn.reporting import page as page_lib
from jaxdqn.reporting.serving import byte_ranges, film_files, live_page, server
from jaxdqn.rundir import layout
from tests import program
from tests.reporting.test_reporting import make_run

FILM = bytes(range(256)) * 1000


def add_film(run, step, content=FILM):
    """As a run does it: a film appears when it is complete."""
    (run / "videos").mkdir(exist_ok=True)
    (run / "videos" / ".part").write_bytes(content)
    (run / "videos" / ".part").rename(run / "videos" / f"{step}.mp4")


def films_of(html):
    """The addresses of the films on a page, in its order."""
    return re.findall(r'<video[^>]* src="([^"]*)"', html)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", range(100)),
        ("bytes=0-1", range(2)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        (None, None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        (f"bytes=0-{'9' * 5000}", None),
    ],
)
def test_parts_of_a_file(header, expected):
    assert byte_ranges.parse(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_parts_behind_the_end_of_a_file(header):
    with pytest.raises(byte_ranges.UnsatisfiableError):
        byte_ranges.parse(header, 100)


def test_only_the_film_that_was_found_is_opened(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(FILM)
    run = make_run(tmp_path / "run")
    add_film(run, 5)
    (film,) = film_files.of(found_runs.read(run))
    with film_files.opened(film) as file:
        assert file.read() == FILM
    path = run / "videos" / "5.mp4"

    def as_a_link():
        path.unlink()
        path.symlink_to(secret)

    def in_a_folder_that_is_a_link():
        (run / "videos").rename(tmp_path / "elsewhere")
        (run / "videos").symlink_to(tmp_path / "elsewhere")

    def as_a_pipe():
        path.unlink()
        os.mkfifo(path)

    for change in (lambda: add_film(run, 5, b"other"), as_a_link, as_a_pipe, path.unlink):
        change()
        with pytest.raises(OSError):
            film_files.opened(film)
    add_film(run, 5)
    (film,) = film_files.of(found_runs.read(run))
    in_a_folder_that_is_a_link()
    with pytest.raises(OSError):
        film_files.opened(film)


def test_the_page_changes_with_what_runs_write_and_only_then(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "_REST", 0.0)
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    newest = functools.partial(live.newest, wait_s=None)
    page = newest()
    assert "0 runs: 0 complete" in page.html.decode() and newest() is page
    run = make_run(tmp_path / "a", steps=1000)
    rows = (run / "metrics.jsonl").read_text()
    assert "at 50%" in newest().html.decode()
    # A row that is not whole yet, a file that is no text, and one that is gone.
    for content in (rows.encode() + b'{"step": 15', b"\xff", None):
        (run / "metrics.jsonl").unlink()
        if content is not None:
            (run / "metrics.jsonl").write_bytes(content)
        assert "1 run: 0 complete" in newest().html.decode()
    (run / "metrics.jsonl").write_text(rows)
    add_film(run, 500)
    other = make_run(tmp_path / "b", seed=1)
    add_film(other, 2000)
    html = newest().html.decode()
    assert "2 runs: 1 complete, 1 running or stopped, 0 broken" in html
    captions = re.findall(r"<figcaption>(<b>[ab]\..*)</figcaption>", html)
    assert captions == [
        "<b>b.</b> Play at step 2,000 of 2,000; last evaluation 100.0, best evaluation 100.0, "
        "return in training 100.0.",
        "<b>a.</b> Play at step 500 of 2,000; last evaluation 100.0, best evaluation 100.0, "
        "return in training 50.0.",
    ]
    # What nobody foresaw does not end the program, and may be over with the next row.
    with monkeypatch.context() as context:
        context.setattr(page_lib, "render", lambda *_: 1 / 0)
        make_run(tmp_path / "c", seed=2)
        for _ in range(2):
            with pytest.raises(errors.RunError, match="ZeroDivisionError: division by zero"):
                newest()
    assert "3 runs" in newest().html.decode()
    (run / layout.NONFINITE).mkdir()
    (run / layout.NONFINITE / "1200.npz").touch()
    assert "0 running or stopped, 0 broken, 1 diverged" in newest().html.decode()


def test_plots_are_drawn_again_only_of_games_whose_runs_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "_REST", 0.0)
    drawn, section = [], page_lib.game_section
    monkeypatch.setattr(
        page_lib, "game_section", lambda game, groups: drawn.append(game) or section(game, groups)
    )
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    newest = functools.partial(live.newest, wait_s=None)
    run = make_run(tmp_path / "a", steps=1000)
    make_run(tmp_path / "b", "Pong")
    before = newest().html.decode()
    assert drawn == ["Breakout", "Pong"]
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1500, "episode_return_mean": 75.0, "time_s": 9.0}\n')
    after = newest().html.decode()
    assert drawn == ["Breakout", "Pong", "Breakout"] and "at 75%" in after
    pong = after.index(">Pong<")
    assert after[pong:].count("<svg") == before[before.index(">Pong<") :].count("<svg") > 0
    make_run(tmp_path / "c", "Pong", n_step=3)  # which makes the labels of both games longer
    assert "n_step=3" in newest().html.decode() and drawn[3:] == ["Breakout", "Pong"]


def test_a_page_stays_for_as_long_as_training_needs_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "_REST", 1e9)
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    page = live.newest(wait_s=None)
    make_run(tmp_path / "a")
    assert live.newest(wait_s=None) is page


def test_a_page_says_that_the_first_one_is_being_made(tmp_path, monkeypatch):
    may_go_on = threading.Event()
    render = page_lib.render
    monkeypatch.setattr(page_lib, "render", lambda *told: may_go_on.wait() and render(*told))
    make_run(tmp_path / "a")
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    html = live.newest(wait_s=0).html.decode()
    assert "The page is being made" in html and '<meta http-equiv="refresh"' in html
    may_go_on.set()
    assert "1 run: 1 complete" in live.newest(wait_s=None).html.decode()


def test_a_page_that_cannot_be_made_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "_REST", 0.0)
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    with server.Server(live, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        with monkeypatch.context() as context:
            context.setattr(page_lib, "render", lambda *_: 1 / 0)
            with pytest.raises(errors.RunError):
                live.newest(wait_s=None)
            for accept, told in (
                ("text/html,*/*", '<meta http-equiv="refresh" content="2">'),
                ("*/*", "The page cannot be made: ZeroDivisionError"),  # as the script asks
            ):
                answer, body = ask(serving.server_port, Accept=accept)
                assert answer.status == 500 and told in body.decode()
                assert ("<" in body.decode()) == answer.headers["Content-Type"].startswith("text/h")
        live.newest(wait_s=None)
        assert "0 runs" in ask(serving.server_port, Accept="text/html")[1].decode()
        serving.shutdown()


def test_all_but_the_newest_films_are_folded(tmp_path):
    for number in range(14):
        run = make_run(tmp_path / f"{number:02}", steps=500, seed=number)
        add_film(run, 500)
        os.utime(run / "videos" / "500.mp4", ns=(0, number * 10**9))
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    shown, _, folded = live.newest(wait_s=None).html.decode().partition("Older films: 2")
    names = [re.findall(r"<figcaption><b>(\d+)\.</b>", html) for html in (shown, folded)]
    assert names == [[f"{number:02}" for number in range(13, 1, -1)], ["01", "00"]]
    # By which the script knows it again, whatever else is folded.
    assert shown.endswith('<details data-of="older films"><summary>')
    assert 'preload="metadata"' not in folded


def test_the_old_page_is_there_while_a_new_one_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "_REST", 0.0)
    live = live_page.LivePage(lambda: sorted(tmp_path.iterdir()))
    page = live.newest(wait_s=None)
    make_run(tmp_path / "a")
    may_go_on = threading.Event()
    render = page_lib.render
    monkeypatch.setattr(page_lib, "render", lambda *told: may_go_on.wait() and render(*told))
    assert live.newest(wait_s=0) is page and live.newest(wait_s=0) is page
    may_go_on.set()
    live.finish(limit_s=100)
    assert "1 run: 1 complete" in live.newest(wait_s=0).html.decode()


def ask(port, path="/", method="GET", **headers):
    """Returns the answer and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=given)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


class Served:
    """The program itself, and a browser that shows what it answers."""

    def __init__(self, folder):
        self.folder = folder
        self.run = make_run(folder / "runs" / "a", steps=1000)
        add_film(self.run, 500)
        words = ("--serve", f"--runs={folder / 'runs'}/*", "--port=0")
        self.program = program.Program("jaxdqn.report", words)
        line = self.program.stdout.readline()
        self.port = int(re.fullmatch(r"serving .* at http://127\.0\.0\.1:(\d+)/; .*\n", line)[1])
        program.wait_until(lambda: "The page is being made" not in self.html())

    def ask(self, path="/", method="GET", **headers):
        return ask(self.port, path, method, **headers)

    def html(self):
        return self.ask()[1].decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    one = Served(tmp_path_factory.mktemp("served"))
    yield one
    if one.program.returncode is None:  # a test failed before the last one
        one.program.kill()
        one.program.end()


def test_a_browser_gets_the_page_and_asks_whether_it_is_new(served):
    answer, body = served.ask()
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    tag = answer.headers["ETag"]
    html = body.decode()
    assert f'<meta name="version" content="{tag[1:-1]}">' in html
    assert "<noscript><meta http-equiv" in html and html.count("<script") == 1
    assert not re.search(r'(src|href)="(?!/films/|data:|#)', html)
    assert live_page.SCRIPT_HASH in answer.headers["Content-Security-Policy"]
    for known in (tag, f'"x", W/{tag}'):
        answer, body = served.ask(If_None_Match=known)
        assert answer.status == 304 and answer.headers["ETag"] == tag and not body
    assert served.ask(If_None_Match='"x"')[0].status == 200
    answer, body = served.ask(method="HEAD")
    assert answer.status == 200 and int(answer.headers["Content-Length"]) == len(html.encode())
    assert not body


def test_a_browser_gets_a_film_in_parts(served):
    (path,) = films_of(served.html())
    answer, body = served.ask(path)
    assert answer.status == 200 and body == FILM
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    tag = answer.headers["ETag"]
    answer, body = served.ask(path, Range="bytes=1000-1999")
    assert answer.status == 206 and body == FILM[1000:2000]
    assert answer.headers["Content-Range"] == "bytes 1000-1999/256000"
    assert served.ask(path, Range="bytes=-1", If_Range=tag)[1] == FILM[-1:]
    assert served.ask(path, Range="bytes=-1", If_Range='"older"')[1] == FILM
    answer, _ = served.ask(path, Range="bytes=256000-")
    assert answer.status == 416 and answer.headers["Content-Range"] == "bytes */256000"
    answer, body = served.ask(path, method="HEAD", Range="bytes=0-9")
    assert answer.status == 206 and answer.headers["Content-Length"] == "10" and not body
    assert served.ask(path, If_None_Match=tag)[0].status == 304


def test_nothing_else_can_be_read(served):
    (served.folder / "runs" / "secret.mp4").write_bytes(b"secret")
    for path in (
        "/films/",
        "/films/x.mp4",
        "/films/../../../etc/passwd",
        "/films/%2e%2e/%2e%2e/secret.mp4",
        f"/films/{served.folder}/runs/secret.mp4",
        f"/{served.run}/config.json",
        "//etc/passwd",
        "/../../etc/passwd",
        "/films/\\..\\x.mp4",
        "/favicon.ico",
        "http://127.0.0.1/",
        "*",
    ):
        answer, body = served.ask(path)
        assert answer.status == 404 and body == b"There is no such page.\n", path
    film = served.run / "videos" / "500.mp4"
    (path,) = films_of(served.html())
    film.rename(film.with_suffix(".kept"))
    film.symlink_to(served.folder / "runs" / "secret.mp4")
    try:
        assert served.ask(path)[0].status == 404
    finally:
        film.unlink()
        film.with_suffix(".kept").rename(film)
    assert served.ask(path)[1] == FILM


def test_nothing_can_be_changed(served):
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer, _ = served.ask(method=method)
        assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD", method
    assert served.ask(method="TRACE")[0].status == 501
    # What follows as the content of a request is not taken for the next one.
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        hidden = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = f"GET /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(hidden)}\r\n\r\n"
        connection.sendall((head + hidden).encode())
        answer = b"".join(iter(lambda: connection.recv(10_000), b""))
    assert answer.count(b"HTTP/1.1 ") == 1 and b" 404 " in answer


def test_only_a_browser_that_knows_whom_it_asks_gets_an_answer(served):
    (path,) = films_of(served.html())
    for host in ("localhost", "localhost:1", f"127.0.0.1:{served.port}", "LOCALHOST:80"):
        assert served.ask(Host=host)[0].status == 200, host
    for host in ("elsewhere.example", f"elsewhere.example:{served.port}", "", "127.0.0.1.nip.io"):
        for asked in ("/", path):
            answer, body = served.ask(asked, Host=host)
            assert answer.status == 421 and b"<" not in body and len(body) < 100, host
    assert served.ask()[0].headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_page_that_is_open_changes_as_rows_and_runs_come(served):
    before, html = served.ask()
    assert "at 50%" in html.decode()
    with (served.run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1500, "episode_return_mean": 7.0}) + '\n{"step": 16')
    add_film(served.run, 1500, b"newer")
    make_run(served.folder / "runs" / "later", seed=1)
    program.wait_until(lambda: "at 75%" in served.html())
    after, html = served.ask()
    assert after.headers["ETag"] != before.headers["ETag"]
    assert "2 runs: 1 complete" in html.decode() and "Play at step 1,500" in html.decode()
    (path,) = films_of(html.decode())
    assert served.ask(path)[1] == b"newer"


def test_a_port_that_is_taken_is_told_of_in_one_line(served):
    words = ("--serve", f"--runs={served.folder / 'runs'}/*", f"--port={served.port}")
    result = program.run("report", *words)
    assert result.returncode == 1 and not result.stdout
    expected = f"error: --port: another program uses {served.port}; name another port, or 0 for a "
    assert result.stderr == f"{expected}free one\n"


def test_a_signal_ends_it_with_one_line(served):
    """The last test of the module."""
    with socket.create_connection(("127.0.0.1", served.port)):  # a browser that stays
        served.program.send_signal(signal.SIGTERM)
        assert served.program.wait(60) == 128 + signal.SIGTERM
    printed, told = served.program.end()
    assert printed == "stopped serving\n" and told == ""
