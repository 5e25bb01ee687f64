"""The page of a network in a real browser: it sees what Python sees, bit for bit, and computes what Python computes."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.browser import runtime
from leaky_interop.cli import main
from leaky_interop.errors import Refused, UnsafeFile, Usage
from leaky_interop.inference import Preprocessing, Session, recipe
from leaky_interop.inference.preprocessing import FILTERS, KEY
from tests.inference_samples import classifier, encoded, network, photo, same, saved
from tests.test_report_browser import CHROMIUM, FLAGS

pytestmark = pytest.mark.one_backend
required = os.environ.get("LEAKY_INTEROP_CHROMIUM") == "required"
in_browser = pytest.mark.skipif(CHROMIUM is None and not required, reason="there is no chromium to run the page in")

# A page around the page: it chooses files as a visitor would, waits, and sends what came out to the test's own server.
AROUND = """<!doctype html><meta charset="utf-8"><iframe src="index.html" width="900" height="900"></iframe><script>
const pause = () => new Promise(done => setTimeout(done, 20));
const frame = document.querySelector("iframe");
const state = () => frame.contentDocument?.querySelector("#state")?.textContent ?? "";
const settled = async () => { do await pause(); while (!/^(Ready|Run in|That failed|The page)/.test(state())); return state(); };
const plain = last => ({
  input: { data: Array.from(last.input.data), dims: last.input.dims },
  outputs: Object.fromEntries(Object.entries(last.outputs).map(([name, o]) => [name, { data: Array.from(o.data, x => Number.isFinite(x) ? x : String(x)), dims: o.dims }])),
});
(async () => {
  const answers = [], page = () => frame.contentDocument, inside = () => frame.contentWindow;
  const add = async () => answers.push({
    state: await settled(), last: inside().last ? plain(inside().last) : null,
    text: page().querySelector("#outputs").innerText, html: page().querySelector("#outputs").innerHTML,
    width: page().documentElement.scrollWidth - inside().innerWidth,
  });
  try {
    await new Promise(done => frame.addEventListener("load", done, { once: true }));
    await add();
    for (const name of WORK) {
      if (name === "draw") page().querySelector("#draw button").click();
      else if (typeof name === "number") page().querySelectorAll("#samples button")[name].click();
      else {
        const data = new DataTransfer();
        data.items.add(new File([await (await fetch("given/" + name)).blob()], name));
        const input = page().querySelector("#file");
        input.files = data.files;
        input.dispatchEvent(new Event("change"));
      }
      await pause();
      await add();
    }
  } catch (error) { answers.push({ state: String(error.stack), last: null }); }
  await fetch("answer", { method: "POST", body: JSON.stringify(answers) });
})();
</script>"""


class Server(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        self.server.answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.server.came.set()

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def runtime_folder(tmp_path_factory):
    """onnxruntime-web, fetched once for all tests; where nothing can fetch it they are skipped, but not where it is required."""
    home = tmp_path_factory.mktemp("runtime")
    try:
        for name, path in runtime.runtime_files(os.environ.get("LEAKY_INTEROP_WEB")).items():
            shutil.copyfile(path, home / name)
    except Usage as error:
        if required:
            raise
        pytest.skip(str(error))
    return home


@pytest.fixture
def browse(tmp_path):
    def run(folder, *work, given=()):
        (folder / "given").mkdir(exist_ok=True)
        for name, content in dict(given).items():
            (folder / "given" / name).write_bytes(content)
        (folder / "around.html").write_text(AROUND.replace("WORK", json.dumps(work)), "utf-8")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
        server.came, server.asked, server.answer = threading.Event(), [], None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        log = tmp_path / "console.txt"
        address = f"http://127.0.0.1:{server.server_port}/around.html"
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--remote-debugging-port=0",
            address,
        ]
        with log.open("w") as stream:
            chromium = subprocess.Popen(command, stderr=stream, stdout=subprocess.DEVNULL)
            try:
                assert server.came.wait(120), log.read_text()[-2000:]
            finally:
                chromium.terminate()
                chromium.wait(20)
                server.shutdown()
                server.server_close()
        errors = [line for line in log.read_text().splitlines() if "CONSOLE" in line]
        assert errors == []
        return server.answer, server.asked

    return run


def arrays(found):
    return np.array([float(x) for x in found["data"]]).reshape(found["dims"])


def with_recipe(model, made: Preprocessing):
    helper.set_model_props(model, {KEY: made.to_json()})
    return model


@pytest.mark.chromium
@in_browser
def test_a_classifier_gives_the_same_top_one_and_numbers(tmp_path, browse, runtime_folder):
    made = with_recipe(classifier(7, size=24, last="Softmax"), recipe("imagenet"))
    pictures = {f"{i}.png": encoded(photo(50 + 17 * i, 81 - 9 * i, seed=i)) for i in range(3)}
    pictures["photo.jpg"] = encoded(photo(90, 70, seed=9), "JPEG", quality=85)
    sample = tmp_path / "a sample <b>.png"
    sample.write_bytes(pictures["1.png"])
    out = tmp_path / "out"
    labels = [f"label <b>{i}</b>" for i in range(7)]
    li.web(made, out, labels=labels, top_k=3, samples=[sample], runtime_folder=runtime_folder)
    answers, asked = browse(out, 0, *pictures, given=pictures)
    assert answers[0]["state"] == "Ready."
    session = Session(made)
    bound = li.load(made)
    for answer, content in zip(answers[1:], [pictures["1.png"], *pictures.values()], strict=True):
        assert answer["state"].startswith("Run in"), answer["state"]
        wanted = session.sample(content)[None]
        np.testing.assert_array_equal(arrays(answer["last"]["input"]).astype(np.float32), wanted)
        expected = session.predict([content])
        received = arrays(answer["last"]["outputs"]["y"]).astype(np.float32)
        assert agree(bound, wanted, expected, received)
        best = np.argsort(-expected[0], kind="stable")[:3]
        lines = answer["text"].split("\n")
        assert [line for line in lines if line.startswith("label")] == [labels[i] for i in best]
        assert answer["width"] <= 0
    ours = {path.split("?")[0] for path in asked}
    assert ours - {"/favicon.ico"} <= {
        "/around.html",
        *(f"/given/{n}" for n in pictures),
        *(f"/{p.relative_to(out).as_posix()}" for p in out.rglob("*")),
    }


def agree(graph, given, expected, received) -> bool:
    from leaky_interop.interpreter import bind
    from leaky_interop.judging import network_limits
    from leaky_interop.numeric import compare

    bounds = network_limits(graph, [given], bind((v.shape for v in graph.inputs), [given]))
    found = compare(expected, received, bounds[id(graph.outputs[0])].limit(expected))
    return not isinstance(found, str) and found.ratio <= 1


RECIPES = [
    *(Preprocessing(size=(13, 29), filter=f) for f in FILTERS),
    *(
        Preprocessing(size=(97, 64), filter=f, colours="bgr", divisor=255.0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.3))
        for f in FILTERS
    ),
    Preprocessing(size=(21, 20), fit="crop", shorter=33, divisor=127.5, mean=(1.0,)),
    Preprocessing(size=(40, 31), fit="pad", padding=127.5, filter="lanczos", divisor=255.0),
    Preprocessing(size=(17, 45), fit="pad", padding=3.0, filter="bicubic"),
    Preprocessing(divisor=255.0, std=(0.3,)),
]
SHAPES = [["n", 3, "h", "w"], ["n", "h", "w", 3], ["n", 1, "h", "w"]]


@pytest.mark.chromium
@in_browser
def test_every_recipe_gives_the_numbers_of_python(tmp_path, browse, runtime_folder):
    """One page a recipe would take minutes: the page's own script is asked for all of them in one."""
    out = tmp_path / "out"
    li.web(with_recipe(same(SHAPES[0]), RECIPES[0]), out, runtime_folder=runtime_folder)
    pictures = {
        "a.png": photo(61, 44, 1),
        "b.png": photo(23, 88, 2),
        "c.png": photo(90, 33, 4),
        "grey.png": photo(50, 50, 3).convert("L"),
    }
    jobs, wanted = [], []
    for made in RECIPES:
        for shape in SHAPES:
            if shape[1] == 1 and (len(made.mean) == 3 or made.colours == "bgr"):
                continue
            for kind, onnx_kind in (("float32", TensorProto.FLOAT), ("uint8", TensorProto.UINT8)):
                if kind == "uint8" and made.arithmetic:
                    continue
                session = Session(same(shape, onnx_kind), preprocess=made)
                described = page_description(session)
                for name, image in pictures.items():
                    jobs.append([name, described["preprocessing"], described["input"]])
                    wanted.append(session.sample(encoded(image)))
    script = """import { numbers } from "./pixels.js";
    const JOBS = %s;
    const answers = [];
    for (const [name, recipe, input] of JOBS) {
      const how = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
      const bitmap = await createImageBitmap(await (await fetch("given/" + name)).blob(), how);
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const [data, dims] = numbers(context.getImageData(0, 0, bitmap.width, bitmap.height), recipe, input);
      answers.push({ dims, data: Array.from(data) });
    }
    await fetch("answer", { method: "POST", body: JSON.stringify(answers) });
    """
    (out / "ask.js").write_text(script % json.dumps(jobs), "utf-8")
    global AROUND
    before, AROUND = AROUND, '<!doctype html><script type="module" src="ask.js"></script>'
    try:
        answers, _ = browse(out, given={name: encoded(image) for name, image in pictures.items()})
    finally:
        AROUND = before
    assert len(answers) == len(wanted) > 60
    for job, answer, expected in zip(jobs, answers, wanted, strict=True):
        np.testing.assert_array_equal(arrays(answer).astype(expected.dtype), expected[None], err_msg=str(job))


def page_description(session):
    from leaky_interop.browser.page import describe

    return describe(session, None, 5, None)


def generator():
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3 * 5 * 6)).astype(np.float32) * 0.3,
        "s": np.array([-1, 3, 5, 6], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["b"]),
        helper.make_node("Tanh", ["b"], ["y"]),
    ]
    return network(nodes, ["n", 4], weights=weights, result_shape=["n", 3, 5, 6])


@pytest.mark.chromium
@in_browser
def test_a_generator_draws_pictures(tmp_path, browse, runtime_folder):
    made = generator()
    out = tmp_path / "out"
    li.web(made, out, title="</title><script>alert(1)</script>", runtime_folder=runtime_folder)
    answers, _ = browse(out, "draw", "draw")
    inputs = [arrays(a["last"]["input"]).astype(np.float32) for a in answers]
    assert inputs[0].shape == (1, 4) and (inputs[0] == inputs[1]).all() and (inputs[1] != inputs[2]).all()
    for given, answer in zip(inputs, answers, strict=True):
        expected = Session(made).predict(given)
        received = arrays(answer["last"]["outputs"]["y"]).astype(np.float32)
        assert agree(li.load(made), given, expected, received)
        assert "6 x 5, black is -1 and white 1" in answer["text"] and "<canvas" in answer["html"]


@pytest.mark.chromium
@in_browser
def test_what_fails_is_said_and_the_next_picture_runs(tmp_path, browse, runtime_folder):
    out = tmp_path / "out"
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Sqrt", ["x"], ["y"])]
    made = network(nodes[1:], ["n", 3, 4, 4], weights=None, result_shape=["n", 3, 4, 4])
    made.graph.node.append(nodes[0])
    made.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 48]))
    li.web(with_recipe(made, Preprocessing(mean=(100.0,))), out, runtime_folder=runtime_folder)
    given = {
        "bad.png": b"no picture",
        "clear.png": encoded(photo(9, 9).convert("RGBA").point(lambda v: v // 2)),
        "good.png": encoded(photo(9, 9)),
    }
    answers, _ = browse(out, *given, given=given)
    assert answers[1]["state"] == "That failed: bad.png is no picture that this browser reads"
    assert "transparent" in answers[2]["state"] and "transparent" not in answers[3]["state"]
    expected = Session(made).predict([given["good.png"]])
    for output, wanted in zip(("y", "f"), expected, strict=True):
        np.testing.assert_array_equal(arrays(answers[3]["last"]["outputs"][output]).astype(np.float32), wanted)
    assert np.isnan(wanted).any() or np.isnan(expected[0]).any()


# --- what needs no browser --------------------------------------------------------------------------------------------


def test_the_page_needs_its_own_folder_only(tmp_path, fake_runtime):
    out = tmp_path / "deep" / "out"
    index = li.web(with_recipe(classifier(), recipe("gan")), out, runtime_folder=fake_runtime)
    assert index == out / "index.html"
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names == {
        "index.html",
        "page.css",
        "page.js",
        "pixels.js",
        "network.json",
        "model.onnx",
        *(f"runtime/{n}" for n in runtime.FILES),
    }
    for name in ("index.html", "page.css", "page.js", "pixels.js", "network.json"):
        assert "://" not in (out / name).read_text("utf-8")
    assert "Content-Security-Policy" in index.read_text() and "unsafe-inline" not in index.read_text()


@pytest.fixture
def fake_runtime(tmp_path):
    home = tmp_path / "package" / "node_modules" / "onnxruntime-web" / "dist"
    home.mkdir(parents=True)
    for name in runtime.FILES:
        (home / name).write_text("x")
    return tmp_path / "package"


def two_inputs():
    return network([helper.make_node("Add", ["a", "b"], ["y"])], ["n", 3], inputs=("a", "b"))


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (two_inputs(), {}, Usage, "2 inputs"),
        (classifier(), {}, Usage, "nothing says how pictures"),
        (classifier(batch=4), {"preprocess": "gan"}, Usage, "takes 4 rows at once"),
        (same(["n", "m"]), {}, Usage, "cannot make up"),
        (same(["n", 3], TensorProto.DOUBLE), {}, Refused, "does not run this network"),
        (same(["n", 3], TensorProto.FLOAT16), {}, Refused, "does not run this network"),
        (classifier(5), {"preprocess": "gan", "labels": ["a"]}, Usage, "there are 1 labels"),
        (classifier(5, last="Softmax"), {"preprocess": "gan", "softmax": True}, Usage, "softmax is asked for"),
        (classifier(), {"preprocess": "gan", "samples": ["a.tiff"]}, Usage, "browsers show"),
    ],
)
def test_what_no_page_can_run_is_refused_and_nothing_written(tmp_path, fake_runtime, model, options, error, message):
    with pytest.raises(error, match=message):
        li.web(model, tmp_path / "out", runtime_folder=fake_runtime, **options)
    assert not (tmp_path / "out").exists()


def test_without_npm_and_registry_the_way_round_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "none"))
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    with pytest.raises(Usage, match="--runtime-folder"):
        runtime.runtime_files()
    with pytest.raises(Usage, match="has no ort"):
        runtime.runtime_files(tmp_path)
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(Usage, match="neither http nor https"):
        runtime.runtime_files()


@pytest.mark.parametrize(
    ("text", "found"),
    [("registry=a\n", "a"), ("; x\n registry = 'b'\n", "b"), ("@x:registry=c", None), ("registry=\n", None)],
)
def test_the_registry_is_the_one_that_npm_is_told_of(tmp_path, monkeypatch, text, found):
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "npmrc").write_text(text)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
    assert runtime.registry() == found


def test_an_archive_of_another_content_is_unsafe(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime-web" / "-").mkdir(parents=True)
    (tmp_path / "onnxruntime-web" / "-" / f"onnxruntime-web-{runtime.VERSION}.tgz").write_bytes(b"other")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    try:
        with pytest.raises(UnsafeFile, match="not the archive that was published"):
            runtime.runtime_files()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/nowhere")
        with pytest.raises(Usage, match="the registry does not give"):
            runtime.runtime_files()
    finally:
        server.shutdown()
        server.server_close()
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_the_command(tmp_path, fake_runtime):
    path = saved(with_recipe(classifier(), recipe("gan")), tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("\n".join("abcde"))
    (tmp_path / "s.png").write_bytes(encoded(photo()))
    options = [
        "--labels",
        str(tmp_path / "labels.txt"),
        "--top-k",
        "2",
        "--softmax",
        "--sample",
        str(tmp_path / "s.png"),
        "--runtime-folder",
        str(fake_runtime),
    ]
    with pytest.raises(SystemExit) as end:
        main(["web", path, str(tmp_path / "out"), *options])
    assert end.value.code == 0
    described = json.loads((tmp_path / "out" / "network.json").read_text())
    assert described["name"] == "net.onnx" and described["samples"] == ["samples/1_s.png"]
    output = described["outputs"][0]
    assert output == {"name": "y", "kind": "classes", "labels": list("abcde"), "top": 2, "softmax": True}
    assert numpy_helper.to_array(
        __import__("onnx").load(tmp_path / "out" / "model.onnx").graph.initializer[0]
    ).shape == (4, 3, 3, 3)
