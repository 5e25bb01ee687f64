"""GNU Octave, which reads MATLAB's language, against what is read and computed here.

MATLAB itself cannot be run. Octave parses the same sources, so its reading of the arguments is the measure of the
parser; and it computes the layers' documented formulas on arrays in MATLAB's own order (`octave/forward.m`), so its
numbers are the measure of kernels, pads and the order of features.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import leaky_interop as li
from leaky_interop import files
from leaky_interop.frameworks.matlab.evaluate import Evaluator, network
from leaky_interop.frameworks.matlab.functions import FUNCTIONS
from leaky_interop.frameworks.matlab.source import field_of
from leaky_interop.frameworks.matlab.text import Called
from leaky_interop.ops.activation import LeakyRelu
from tests.matlab_samples import NETWORKS, with_random_numbers
from tests.octave_run import HERE, needed, octave

pytestmark = pytest.mark.one_backend

# --- the formula ------------------------------------------------------------------------------------------------------

SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-45,
        -1e-45,
        1.1754942e-38,
        -1.1754942e-38,
        3.4028235e38,
        -3.4028235e38,
        np.inf,
        -np.inf,
        np.nan,
        2.5,
        -3.7,
    ],
    np.float32,
)
SLOPES = (0.0, 1e-45, 1e-8, 0.01, 0.1, 1 / 3, 1.0, 1.5, -0.5, -0.0, 1e10, 1e38, np.inf, np.nan)


def test_the_formula_of_the_layer_gives_the_same_bits(tmp_path):
    """x where x >= 0, scale * x elsewhere, in single precision: every special number under every slope."""
    needed()
    x = np.concatenate([SPECIAL, np.random.default_rng(0).standard_normal(200).astype(np.float32)])
    x.tofile(tmp_path / "x.bin")
    np.array(SLOPES).tofile(tmp_path / "slopes.bin")
    octave(
        """
        f = fopen('x.bin'); x = fread(f, Inf, 'single=>single'); fclose(f);
        f = fopen('slopes.bin'); slopes = fread(f, Inf, 'double'); fclose(f);
        f = fopen('y.bin', 'w');
        for k = 1:numel(slopes)
          y = x; below = !(x >= 0); y(below) = slopes(k) * x(below);
          fwrite(f, y, 'single');
        end
        fclose(f);
        """,
        tmp_path,
    )
    received = np.fromfile(tmp_path / "y.bin", np.float32).reshape(len(SLOPES), -1)
    for slope, got in zip(SLOPES, received, strict=True):
        with np.errstate(all="ignore"):
            expected = LeakyRelu(negative_slope=slope).reference(x)
        same = (expected.view(np.uint32) == got.view(np.uint32)) | (np.isnan(expected) & np.isnan(got))
        assert same.all(), f"slope {slope}: {x[~same]} gives {got[~same]}, expected {expected[~same]}"


def test_written_with_max_and_min_it_is_the_same_for_finite_numbers(tmp_path):
    needed()
    x = np.random.default_rng(1).standard_normal(300).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    octave(
        "f = fopen('x.bin'); x = fread(f, Inf, 'single=>single'); fclose(f);\n"
        "f = fopen('y.bin', 'w'); for a = [0 0.01 0.3 1 2 -0.5] fwrite(f, max(x, 0) + a * min(x, 0), 'single'); end\nfclose(f);",
        tmp_path,
    )
    received = np.fromfile(tmp_path / "y.bin", np.float32).reshape(6, -1)
    for slope, got in zip((0, 0.01, 0.3, 1, 2, -0.5), received, strict=True):
        assert np.array_equal(LeakyRelu(negative_slope=float(slope)).reference(x), got)


# --- the parser -------------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from(
    [
        "3",
        "16",
        "2*4",
        "[3 3]",
        "[ 2, 1 ]",
        "[1;2]",
        "[1 - 2 + 3, 4]",
        "[1 +2]",
        "2^3",
        "(5)",
        "6/2",
        "1e1",
        "[3 2]'",
        "0.05e2",
    ]
)
SCALARS = st.sampled_from(
    [
        "0.2",
        "1/3",
        ".5",
        "-0.25",
        "1e-3",
        "- 1.5",
        "2*0.1",
        "+0.3",
        "3.",
        "1.5E+1",
        "inf",
        "-Inf",
        "NaN",
        "2^-3",
        "-2^2",
    ]
)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
GAP = st.sampled_from(["", " ", "  ", "\t"])
BREAK = st.sampled_from(
    [
        "\n",
        "\n\n",
        "\n  % a comment [ ( '\n",
        ";",
        " ;\n",
        " % 'text\n",
        ";;\n",
        " ...\n ;",
        "\n\n%{\nnothing ( here\n%}\n",
    ]
)


@st.composite
def calls(draw):
    """One layer as source text."""
    name = draw(st.none() | NAMES)
    quote = draw(st.sampled_from("'\""))
    kind = draw(st.sampled_from(["leaky", "elu", "relu", "conv", "pool", "drop", "norm"]))
    stated = {
        "leaky": ("leakyReluLayer", [draw(SCALARS)] if draw(st.booleans()) else []),
        "elu": ("eluLayer", [draw(SCALARS)] if draw(st.booleans()) else []),
        "relu": ("reluLayer", []),
        "conv": ("convolution2dLayer", [draw(NUMBERS), "8"]),
        "pool": ("maxPooling2dLayer", [draw(NUMBERS)]),
        "drop": ("dropoutLayer", [draw(st.sampled_from(["0.5", ".25", "1/4"]))]),
        "norm": ("batchNormalizationLayer", ["'Epsilon'", draw(st.sampled_from(["1e-5", "2e-3", "1/1000"]))]),
    }
    function, arguments = stated[kind]
    if kind in ("conv", "pool") and draw(st.booleans()):
        arguments = [*arguments, "'Stride'", draw(NUMBERS)]
    if kind in ("conv", "pool") and draw(st.booleans()):
        arguments = [
            *arguments,
            "'Padding'",
            draw(st.sampled_from(["'same'", "1", "[1 0]", "[0 1 2 1]", '"same"', "[0,0 1\t1]"])),
        ]
    if name is not None:
        written = f"it''s {name}" if quote == "'" and draw(st.booleans()) else name
        arguments = [*arguments, "'Name'", f"{quote}{written}{quote}"]
    gaps = [draw(GAP) for _ in range(4)]
    comma = draw(st.sampled_from([",", ", ", " ,", ", ...\n   ", " , ... it's said\n"]))
    if not arguments and draw(st.booleans()):
        return function
    return f"{function}({gaps[0]}{comma.join(arguments)}{gaps[1]})"


@st.composite
def sources(draw):
    """A layer array as source text, in any of the ways to write one."""
    layers = draw(st.lists(calls(), min_size=2, max_size=6))
    breaks = [draw(BREAK) for _ in layers]
    body = "".join(f"{draw(GAP)}{layer}{end}" for layer, end in zip(layers[:-1], breaks, strict=False)) + layers[-1]
    opening = draw(st.sampled_from(["[", "[ ", "[\n", "[ ...\n", "[ % first\n"]))
    closing = draw(st.sampled_from(["]", " ]", "\n]", ";]"]))
    return f"clear all\nlayers = {opening}{body}{closing};\n"


RECORD = """
source('net_of_this_test.m');
for k = 1:numel(layers)
  printf('layer %s\\n', layers(k).fn);
  for n = 1:numel(layers(k).args)
    a = layers(k).args{n};
    if ischar(a) printf('text %s\\n', a); else printf('numbers %s %s\\n', num2str(size(a), '%d '), strjoin(cellstr(num2hex(double(a(:))))', ' ')); end
  end
end
"""


def recorded(text):
    """The calls that Octave made, their arguments as Python has them."""
    found = []
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "layer":
            found.append((rest, []))
        elif kind == "text":
            found[-1][1].append(rest)
        else:
            words = rest.split()
            digits = [w for w in words if len(w) == 16]
            size = tuple(int(w) for w in words if len(w) != 16)
            numbers = np.frombuffer(bytes.fromhex("".join(digits)), ">f8").astype(float)
            found[-1][1].append(float(numbers[0]) if size == (1, 1) else numbers.reshape(size, order="F"))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sources(), min_size=8, max_size=8))
def test_octave_reads_the_same_calls(tmp_path, texts):
    """Several sources in one run of Octave, which takes longer to start than to read them."""
    needed()
    ours, script = [], ""
    for index, text in enumerate(texts):
        (tmp_path / f"net{index}.m").write_text(text.replace("clear all\n", ""), encoding="utf-8")
        script += "printf('file\\n');\n" + RECORD.replace("net_of_this_test", f"net{index}")
        try:
            ours.append(network(text, "net.m", None).layers)
        except li.Usage as error:
            ours.append(error)
    parts = octave(script, tmp_path).split("file\n")[1:]
    for text, part, layers in zip(texts, parts, ours, strict=True):
        evaluator, expected = Evaluator("octave", None), []
        try:
            for function, arguments in recorded(part):
                expected.append(evaluator.layer(Called(1, 1, function), arguments, []))
        except (
            li.Usage
        ) as error:  # Octave only records; what is wrong with the arguments must be found in both readings
            assert isinstance(layers, li.Usage), f"{text}\n{error}"
            continue
        names = [layer.name for layer in expected if layer.name]
        if len(set(names)) < len(names):
            assert isinstance(layers, li.Usage)
            continue
        assert not isinstance(layers, Exception), f"{text}\n{layers}"
        assert len(layers) == len(expected), text
        for mine, theirs in zip(layers, expected, strict=True):
            assert (mine.function, mine.name, mine.given) == (theirs.function, theirs.name, theirs.given), text
            assert repr(mine.settings) == repr(theirs.settings), text


# --- the numbers ------------------------------------------------------------------------------------------------------


def numbers_of_octave(source, numbers, x, folder):
    """What Octave computes of each image (or row of features) with a source and the numbers beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "net.m").write_text(source, encoding="utf-8")
    (folder / "net.mat").write_bytes(numbers)
    scipy.io.savemat(folder / "x.mat", {"x": x.astype(float)})
    octave(
        (HERE / "forward.m").read_text(encoding="utf-8")
        + """
        source('net.m'); load('x.mat'); y = {};
        for n = 1:size(x, 1)
          if ndims(x) > 2 one = reshape(x(n, :, :, :), [size(x) 1](2:4)); else one = x(n, :)'; end
          y{n} = forward(layers, one);
        end
        save('-v6', 'y.mat', 'y');
        """,
        folder,
    )
    return [np.squeeze(part) for part in scipy.io.loadmat(folder / "y.mat")["y"].reshape(-1)]


def stated(folder):
    """The source of net.m with every learnable stated as an argument, so that Octave has its numbers."""
    made = files.open_matlab(folder / "net.m")
    lines = ["weights = load('net.mat');", "layers = ["]
    for layer, line in zip(made.layers, (folder / "net.m").read_text(encoding="utf-8").splitlines()[1:-1], strict=True):
        extra = ",".join(f"'{role}',weights.{field_of(layer.title)}.{role}" for role in layer.learnables)
        if extra:
            line = line[:-1] + f",{extra})" if line.endswith(")") else f"{line}({extra})"
        lines.append(line)
    return "\n".join([*lines, "];\n"])


def agree(folder):
    """Octave, the source as it is read here, and onnxruntime compute the same; so does what is written as MATLAB again."""
    graph = li.load(folder / "net.m")
    assert li.convert(folder / "net.m", folder / "net.onnx").passed
    x = (
        np.random.default_rng(3)
        .standard_normal([d if isinstance(d, int) else 3 for d in graph.inputs[0].shape])
        .astype(np.float32)
    )
    found = {"source": li.run(folder / "net.m", x)[0], "onnx": li.run(folder / "net.onnx", x)[0]}
    expected = numbers_of_octave(stated(folder), (folder / "net.mat").read_bytes(), x, folder / "stated")
    try:
        li.convert(folder / "net.m", folder / "again.m")
    except li.Refused as error:
        assert "fixed numbers" in str(error), error  # a norm of whole images is read and not written
    else:
        numbers = folder / "again.mat"
        text = (folder / "again.m").read_text().replace("again.mat", "net.mat")
        content = numbers.read_bytes() if numbers.exists() else (folder / "net.mat").read_bytes()
        found["written"] = numbers_of_octave(text, content, x, folder / "written")
    for where, arrays in found.items():
        for mine, theirs in itertools.zip_longest(arrays, expected):
            np.testing.assert_allclose(np.squeeze(mine), theirs, rtol=2e-4, atol=2e-5, err_msg=where)


@pytest.mark.parametrize("name", NETWORKS)
def test_octave_computes_the_same_numbers(name, tmp_path):
    needed()
    with_random_numbers(NETWORKS[name], tmp_path)
    agree(tmp_path)


SMALL = st.integers(1, 3)


@st.composite
def chains(draw):
    """A layer array of random layers, whose windows may not fit: the caller finds out."""

    def pair(numbers=SMALL):
        return f"[{draw(numbers)} {draw(numbers)}]"

    def window(pads):
        stride, padding = pair(), draw(st.sampled_from(pads))
        return f"'Stride',{stride},'Padding',{padding}"

    pads = ["0", "1", "'same'", "[1 0]", "[0 1 2 1]"]
    kinds = {
        "conv": lambda: f"convolution2dLayer({pair()},{draw(SMALL)},{window(pads)},'DilationFactor',{pair()})",
        "depthwise": lambda: f"groupedConvolution2dLayer({pair()},{draw(SMALL)},'channel-wise',{window(pads)})",
        "transposed": lambda: f"transposedConv2dLayer({pair(st.integers(2, 4))},{draw(SMALL)},'Stride',{pair(st.integers(1, 2))},'Cropping',{draw(st.sampled_from(['0', '1', '[0 1]', '[0 1 1 0]']))})",
        "max": lambda: f"maxPooling2dLayer({pair(st.integers(2, 3))},{window(pads[:4])})",
        "mean": lambda: f"averagePooling2dLayer({pair(st.integers(2, 3))},{window(pads[:4])},'PaddingValue',{draw(st.sampled_from(['0', chr(39) + 'mean' + chr(39)]))})",
        "norm": lambda: f"batchNormalizationLayer('Epsilon',{draw(st.sampled_from(['1e-5', '0.1']))})",
        "leaky": lambda: f"leakyReluLayer({draw(st.sampled_from(['0.01', '0.3', '1.5', '-0.2']))})",
        "relu": lambda: "preluLayer",
    }  # fmt: skip
    size = f"[{draw(st.integers(4, 9))} {draw(st.integers(4, 9))} {draw(st.integers(1, 4))}]"
    middle = [kinds[kind]() for kind in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))]
    ends = [
        [],
        ["fullyConnectedLayer(4)", "softmaxLayer"],
        ["flattenLayer", "leakyReluLayer(0.2)", "fullyConnectedLayer(2)"],
    ]
    return "\n".join([f"imageInputLayer({size})", *middle, *draw(st.sampled_from(ends))])


@settings(max_examples=8, deadline=None)
@given(chains())
def test_octave_computes_the_same_numbers_of_random_networks(tmp_path_factory, source):
    needed()
    folder = tmp_path_factory.mktemp("chain")
    try:
        with_random_numbers(source, folder)
    except (li.Usage, li.Refused):
        assume(False)
    agree(folder)


def test_every_function_that_computes_is_among_these_networks():
    several = {fn for fn, kind in FUNCTIONS.items() if kind.inputs}  # Octave's chain has one input each
    used = {fn for text in NETWORKS.values() for fn in re.findall(r"^\w+", text, re.MULTILINE)}
    assert used | several == set(FUNCTIONS)
