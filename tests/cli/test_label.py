"""`jaxmed label`: what its server answers and refuses, and the table that it keeps."""

from __future__ import annotations

import http.client
import io
import json
import shlex
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxmed import data, protocols
from jaxmed.cli import main
from jaxmed.cli.label import _command
from jaxmed.cli.label._answers import Answers, Conflict
from jaxmed.cli.label._order import asked, by_doubt
from jaxmed.cli.label._pictures import Pictures, shown
from jaxmed.cli.label._server import Labelling, Server

CLASSES = ("benign", "malignant")
COLUMNS = ["case", "image", "label"]
CASES = {name: {"image": f"{name}.png"} for name in "abcd"}


def answers(folder, order="abcd", **change):
    given = {"columns": COLUMNS, "rows": CASES, "classes": CLASSES, "order": list(order)}
    return Answers(folder / "labels.csv", **{**given, **change})


def table(folder):
    path = folder / "labels.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return {case: label for case, _, label in (row.split(",") for row in rows)}


@given(
    st.lists(st.sampled_from(["benign", "malignant", "skip", "undo", "killed"]), max_size=14)
)  # fmt: skip
@settings(max_examples=40)
def test_a_table_is_what_was_answered_whatever_was_taken_back_or_killed(tmp_path_factory, events):
    """Against a model: a list of answers, of which undo takes the last."""
    folder = tmp_path_factory.mktemp("answers")
    now, done = answers(folder), []
    for event in events:
        place = now.progress().case
        if event == "killed":
            now = answers(folder)
            done = [one for one in done if one[1] != "skip"]  # undo goes back to labels alone
        elif event == "undo":
            if done:
                case, _ = done.pop()
                now.undo()
                assert now.progress().case == case, "what was taken back is shown again"
            else:
                with pytest.raises(Conflict, match="no answer to take back"):
                    now.undo()
        elif place is None:
            assert len(table(folder)) == 4
        elif event == "skip":
            now.skip(place)
            done.append((place, event))
        else:
            now.label(place, event)
            done.append((place, event))
        labels = {"abcd"[case]: label for case, label in done if label != "skip"}
        assert table(folder) == labels
        found = now.progress()
        assert found.done == len(labels)
        assert found.can_undo == bool(done)
        assert (found.case is None) == (len(labels) == 4)
        assert not [p for p in folder.iterdir() if p.name.startswith(".")], "half a file is left"


def test_what_was_skipped_comes_last_and_is_remembered(tmp_path):
    now = answers(tmp_path)
    now.skip(0)
    now.skip(1)
    now.label(2, "benign")
    now.label(3, "benign")
    assert (now.progress().case, now.progress().again, now.progress().skipped) == (0, True, 2)
    now.skip(0)
    assert answers(tmp_path).progress()[:2] == (1, 0)
    now.label(1, "malignant")
    now.label(0, "malignant")
    assert [p.name for p in tmp_path.iterdir()] == ["labels.csv"]


def test_labels_of_other_rounds_stay(tmp_path):
    answers(tmp_path, "ab").label(0, "benign")
    later = answers(tmp_path, "cd")
    assert later.progress()[:4] == (0, 1, 0, 2)
    with pytest.raises(Conflict, match="no answer"):
        later.undo()  # of this round
    later.label(1, "malignant")
    assert table(tmp_path) == {"a": "benign", "d": "malignant"}


def test_an_answer_that_cannot_be_kept_is_not_counted(tmp_path, monkeypatch):
    now = answers(tmp_path)
    now.label(0, "benign")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("jaxmed.cli.label._answers.write_whole", full)
        with pytest.raises(OSError, match="No space"):
            now.label(1, "benign")
    assert now.progress().case == 1
    assert table(tmp_path) == {"a": "benign"}
    other = answers(tmp_path)
    other.label(1, "malignant")
    with pytest.raises(Conflict, match="changed by another program"):
        now.label(1, "benign")
    assert table(tmp_path) == {"a": "benign", "b": "malignant"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("case,image,label\nx,x.png,benign\n", "row 2: the data have no case 'x'"),
        ("case,image,label\na,a.png,bening\n", "the label 'bening' of 'a' is none of the classes"),
        ("case,image,label\na,a.png,benign\na,a.png,benign\n", "'a' is listed twice"),
        ("case,image,label,age\na,a.png,benign,3\n", "name another --out"),
    ],
)
def test_a_table_that_is_another_is_refused(tmp_path, text, told):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(data.DataError, match=told):
        answers(tmp_path)
    assert (tmp_path / "labels.csv").read_text() == text


def test_wrong_answers_are_refused(tmp_path):
    now = answers(tmp_path)
    now.label(0, "benign")
    for call, told in (
        (lambda: now.label(0, "malignant"), "has a label already"),
        (lambda: now.skip(0), "has a label already"),
        (lambda: now.label(9, "benign"), "no case 9"),
        (lambda: now.label(-1, "benign"), "no case -1"),
        (lambda: now.label(1, "cyst"), "no class 'cyst'; there are benign, malignant"),
    ):
        with pytest.raises(Conflict, match=told):
            call()
    assert table(tmp_path) == {"a": "benign"}


@pytest.fixture
def images(tmp_path):
    """A folder of four pictures of two patients, whose folders would tell the class."""
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for i in range(4):
        path = folder / ("benign", "malignant")[i // 2] / f"p{i % 2}_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 5, 3), np.uint8)).save(path)
    return folder


@pytest.fixture
def served(images, tmp_path):
    """A server of these pictures, and a function that asks it."""
    source = data.dataset(images, labels=(), patient=r"(p\d)_", canonical=True)
    out = tmp_path / "labels.csv"
    columns, cells = _command._cells(source, out)
    names = tuple(source.case_ids)
    kept = Answers(out, columns, cells, CLASSES, names)
    labelling = Labelling(kept, Pictures(source, [*range(4)]), names, CLASSES, False, str(out))
    server = Server(labelling)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = server.server_address[1]

    def ask(path, body=None, *, secret=server.secret, method=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
            body = body if isinstance(body, str) else json.dumps(body)
        method = method or ("GET" if body is None else "POST")
        connection.request(method, f"/{secret}/{path}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kind = answer.headers["Content-Type"]
        found = json.loads(content) if kind == "application/json" else content
        return answer.status, found, answer.headers

    yield SimpleNamespace(ask=ask, out=out, server=server, port=port, source=source, thread=thread)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_labels_and_the_table_is_trained_on(served, images):
    status, page, headers = served.ask("")
    text = page.decode()
    assert status == 200
    assert '{"key": "2", "name": "malignant"}' in text
    assert "http" not in text.replace("http-equiv", ""), "it loads nothing"
    assert "{{" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    state = served.ask("state")[1]
    assert (state["case"], state["done"], state["total"], state["name"]) == (0, 0, 4, "")
    status, picture, _ = served.ask("image?case=1&slice=0&channel=0")
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(picture))),
        np.asarray(Image.open(served.source.paths(1)[0])),
    )
    for case, label in enumerate(["malignant", "benign", "benign", "malignant"]):
        status, state, _ = served.ask("label", {"case": case, "label": label})
        assert (status, state["done"]) == (200, case + 1)
        opened = data.dataset(served.out, classes=CLASSES)
        assert len(opened) == case + 1
    assert state["case"] is None
    assert opened.labels.tolist() == [1, 0, 0, 1]
    assert opened.groups == ("p0", "p1", "p0", "p1")
    assert opened.case_ids == served.source.case_ids
    np.testing.assert_array_equal(opened.image(2).array, served.source.image(2).array)
    assert served.ask("undo", {})[1]["case"] == 3
    assert served.ask("skip", {"case": 3})[1]["skipped"] == 1


def test_others_are_refused(served):
    body = {"case": 0, "label": "benign"}
    own = f"http://127.0.0.1:{served.port}"
    refused = [
        served.ask("state", secret="guess"),
        served.ask("label", body, secret=""),
        served.ask("state", Host=f"evil.example:{served.port}"),  # a name that leads here
        served.ask("state", Host="127.0.0.1"),
        served.ask("label", body, Origin="http://evil.example"),
        served.ask("label", body, Origin="null"),
        served.ask("label", body, **{"Sec-Fetch-Site": "cross-site"}),
        served.ask("image?case=0", **{"Sec-Fetch-Site": "same-site"}),
    ]
    assert [status for status, _, _ in refused] == [403] * len(refused)
    assert all("Access-Control-Allow-Origin" not in headers for _, _, headers in refused)
    # A form of another site can send these kinds without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert served.ask("label", body, **{"Content-Type": kind})[0] == 415
    assert served.server.server_address[0] == "127.0.0.1"
    assert served.server.labelling.answers.progress().done == 0
    assert served.ask("label", body, Origin=own, **{"Sec-Fetch-Site": "same-origin"})[0] == 200


FOREIGN = {
    "a name that leads here": {"Host": "evil.example:{port}"},
    "a name that ends in ours": {"Host": "127.0.0.1:{port}.evil.example"},
    "another port": {"Host": "127.0.0.1:1"},
    "a second host": {"Host": ["127.0.0.1:{port}", "evil.example"]},
    "no host": {"Host": []},
    "another origin": {"Origin": "https://evil.example"},
    "another scheme": {"Origin": "https://127.0.0.1:{port}"},
    "another port's origin": {"Origin": "http://127.0.0.1:1"},
    "a second origin": {"Origin": ["http://127.0.0.1:{port}", "http://evil.example"]},
    "no origin to tell": {"Origin": "null"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sister site": {"Sec-Fetch-Site": "same-site"},
}
PATHS = {
    "GET": ("", "state", "image?case=0"),
    "POST": ("label", "skip", "undo", "finish"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_path_takes_a_request_from_elsewhere(served, kind):
    """Every path, with the secret and all else as the page sends it, but for one header."""
    sent = {"Host": "127.0.0.1:{port}", "Content-Type": "application/json", **FOREIGN[kind]}
    body = json.dumps({"case": 0, "label": "benign"})
    for method, paths in PATHS.items():
        for path in paths:
            assert _raw(served, method, f"/{served.server.secret}/{path}", sent, body) == 403, path
    assert served.server.labelling.answers.progress().done == 0
    assert not served.out.exists()
    assert served.ask("state")[0] == 200, "it still serves its own page"


def test_a_request_that_names_another_host_in_its_path_is_refused(served):
    sent, at = {"Host": "127.0.0.1:{port}"}, f"/{served.server.secret}/state"
    assert _raw(served, "GET", f"http://evil.example{at}", sent) == 403
    assert _raw(served, "GET", f"http://127.0.0.1:{served.port}{at}", sent) == 200


def _raw(served, method, target, headers, body=""):
    """The status of an answer to a request whose headers may come twice."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            connection.putheader(name, value.format(port=served.port))
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode())
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("label", {"case": 0, "label": "cyst"}, 409),
        ("label", {"case": True, "label": "benign"}, 400),
        ("label", {"case": "0", "label": "benign"}, 400),
        ("label", {"case": 0}, 400),
        ("label", {"case": 17, "label": "benign"}, 409),
        ("label", "[1]", 400),
        ("label", "{", 400),
        ("label", "[" * 9000, 400),
        ("label", '"' + "x" * 20000 + '"', 413),
        ("undo", {}, 409),
        ("delete", {}, 404),
        ("../state", None, 404),
        ("image?case=99", None, 404),
        ("image?case=0&slice=7", None, 404),
        ("image?case=-1", None, 400),
        ("image?case=²", None, 400),
    ],
)
def test_nonsense_changes_nothing(served, path, body, status):
    path = path.replace("²", "%C2%B2")
    found, told, _ = served.ask(path, body)
    assert found == status
    assert told["error"]
    assert not served.out.exists()
    assert served.ask("state")[0] == 200


def test_a_damaged_image_is_told_and_can_be_put_off(served):
    served.source.paths(0)[0].write_bytes(b"no picture")
    status, state, _ = served.ask("state")
    assert status == 200
    assert state["slices"] == 0
    assert "p0_0.png" in state["error"]
    assert served.ask("skip", {"case": 0})[1]["case"] == 1


def test_many_at_once_lose_no_answer(served):
    """Pages that send at the same time: each case has one answer, and each is in the table."""
    found = []

    def send(case, label):
        found.append(served.ask("label", {"case": case, "label": label})[0])

    threads = [
        threading.Thread(target=send, args=(case, label)) for case in range(4) for label in CLASSES
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] * 4 + [409] * 4
    assert len(data.dataset(served.out)) == 4


def test_finish_ends_the_server(served):
    assert served.ask("finish", {})[0] == 200
    served.thread.join(timeout=20)
    assert not served.thread.is_alive()


def scan(array, spacing):
    return SimpleNamespace(array=np.asarray(array, np.float32), spacing=spacing)


def test_volumes_share_one_window_and_lie_upright():
    array = np.zeros((4, 3, 2, 1))
    array[3, 2, 1] = 1000.0  # right, anterior, superior
    array[0, 0, 0] = -5.0
    found = shown(scan(array, (1.0, 2.0, 5.0)))
    assert (found.slices, found.channels, found.aspect) == (2, 1, 0.5)
    assert found.planes[1, 0, 3, 0] == 255
    assert found.planes[1].sum() > 255  # what is 0 in one slice is as grey in the other
    assert found.planes[0, 0, 0, 0] == found.planes[1, 2, 0, 0]


def test_pictures_keep_their_brightness_and_colours():
    grey = shown(scan(np.full((2, 3, 1), 0.2), (1.0, 1.0)))
    assert (grey.planes == 51).all()
    assert not grey.colour
    assert shown(scan(np.full((2, 3, 3), 0.2), (1.0, 1.0))).channels == 1
    several = shown(scan(np.arange(24.0).reshape(2, 4, 3), (1.0, 1.0)))
    assert (several.channels, several.colour) == (3, False)


def test_cases_are_asked_for_as_a_table_says(images, tmp_path):
    source = data.dataset(images, labels=())
    names = source.case_ids
    listed = tmp_path / "ask.csv"
    listed.write_text(f"case\n{names[3]}\np0_0.png\n")
    assert asked(listed, source) == [3, 0]
    scores = tmp_path / "scores.csv"
    scores.write_text(
        "case,score_a,score_b,score_c\np0_0,0.6,0.4,0\np1_1,0.98,0.01,0.01\np0_2,0.5,0.25,0.25\n"
    )
    for measure, order in (
        ("margin", [0, 2, 1, 3]), ("entropy", [2, 0, 1, 3]), ("least-confident", [2, 0, 1, 3]),
    ):  # fmt: skip
        assert by_doubt(scores, source, [3, 1, 0, 2], measure) == order
    for text, told in (
        ("case\nq\n", "the data have none of it"),
        (f"case\n{names[0]}\np0_0\n", "listed twice"),
        ("name\nq\n", "no column 'case'"),
    ):
        listed.write_text(text)
        with pytest.raises(data.DataError, match=told):
            asked(listed, source)
    scores.write_text("case,score_a,score_b\np0_0,0.6,0.6\n")
    with pytest.raises(data.DataError, match="no probabilities"):
        by_doubt(scores, source, [0], "margin")


def test_the_command_serves_until_it_is_interrupted(images, tmp_path, capsys, monkeypatch):
    def served(server, **_):
        server.labelling.answers.label(0, "1")
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", served)
    out = tmp_path / "labels.csv"
    command = ["label", str(images), "--classes", "0", "1", "-o", str(out), "--no-browser"]
    assert main([*command, "--shuffle", "1"]) == 0
    told = capsys.readouterr().out
    assert "4 images, 4 asked for, 0 labelled" in told
    assert "1 of 4 labelled" in told
    assert f"jaxmed train classification --data {out} --classes 0 1" in told
    assert data.dataset(out, classes=["0", "1"]).labels.tolist() == [1]


def test_rounds_of_active_learning_are_answered_on_the_page(images, tmp_path, monkeypatch):
    """The rounds write what to ask, the page answers in that order, the rounds go on."""
    cases = data.dataset(images).case_ids
    ask, out = tmp_path / "run" / "ask.csv", tmp_path / "labels.csv"
    shown = []

    def person(server, **_):
        answers, names = server.labelling.answers, server.labelling.names
        while (case := answers.progress().case) is not None:
            shown.append(names[case])
            answers.label(case, names[case].split("/")[0])
        raise KeyboardInterrupt

    def rounds():
        return protocols.active_rounds(
            lambda rows, labels, number: lambda at: {"scores": -at.astype(float)},
            cases, acquire=protocols.ask_score, classes=2, rounds=1, per_round=2, start=[3],
            oracle=protocols.person_oracle(out, cases, CLASSES, ask=ask, data=images),
            out=tmp_path / "run",
        )  # fmt: skip

    monkeypatch.setattr(Server, "serve_forever", person)
    for _ in range(2):
        with pytest.raises(protocols.LabelsAwaited) as told:
            rounds()
        command = str(told.value).partition("jaxmed ")[2].partition(", and make")[0]
        assert main([*shlex.split(command), "--no-browser"]) == 0
    run = rounds()
    assert run.rows.tolist() == [3, 0, 1]
    assert run.labels.tolist() == [1, 0, 0]
    assert shown == [cases[i] for i in run.rows]
    assert data.dataset(out, classes=CLASSES).labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--classes", "a"], "two different names"),
        (["--classes", "a", "A"], "two different names"),
        (["--classes", "a", "b|c"], "stands between several labels"),
        (["--classes", *map(str, range(40))], "more than the 34 keys"),
        (["--classes", "a", "b", "-o", "labels.txt"], "--out is a table"),
        (["--classes", "a", "b", "-o", "IMAGES/labels.csv"], "name another folder"),
        (["--classes", "a", "b", "--split", "test"], "no row has split 'test'"),
    ],
)
def test_what_the_command_refuses(images, tmp_path, capsys, options, told):
    options = [word.replace("IMAGES", str(images)) for word in options]
    out = [] if "-o" in options else ["-o", str(tmp_path / "labels.csv")]
    assert main(["label", str(images), *options, *out]) == 2
    assert told in capsys.readouterr().err
