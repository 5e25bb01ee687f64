"""MATLAB source text: what is read, what is refused and where, and the table that MATLAB prints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaky_interop.errors import LeakyInteropError, Unsupported, Usage
from leaky_interop.frameworks.matlab.evaluate import network
from leaky_interop.frameworks.matlab.functions import FUNCTIONS, num2str
from leaky_interop.frameworks.matlab.listing import listing
from leaky_interop.frameworks.matlab.text import parse
from leaky_interop.op import importer_of

pytestmark = pytest.mark.one_backend

EXAMPLE = """\
layers = [
    imageInputLayer([28 28 1])
    convolution2dLayer(3,16)
    batchNormalizationLayer
    leakyReluLayer

    maxPooling2dLayer(2,'Stride',2)
    convolution2dLayer(3,32)
    batchNormalizationLayer
    leakyReluLayer

    fullyConnectedLayer(10)
    softmaxLayer
    classificationLayer]
"""
# As the page of leakyReluLayer prints it, but for the blanks in front.
TABLE = """\
11x1 Layer array with layers:

1   ''   Image Input             28x28x1 images with 'zerocenter' normalization
2   ''   2-D Convolution         16 3x3 convolutions with stride [1  1] and padding [0  0  0  0]
3   ''   Batch Normalization     Batch normalization
4   ''   Leaky ReLU              Leaky ReLU with scale 0.01
5   ''   2-D Max Pooling         2x2 max pooling with stride [2  2] and padding [0  0  0  0]
6   ''   2-D Convolution         32 3x3 convolutions with stride [1  1] and padding [0  0  0  0]
7   ''   Batch Normalization     Batch normalization
8   ''   Leaky ReLU              Leaky ReLU with scale 0.01
9   ''   Fully Connected         10 fully connected layer
10   ''   Softmax                 softmax
11   ''   Classification Output   crossentropyex
"""


def read(text, load=None):
    return network(text, "net.m", load or (lambda name: pytest.fail(f"loads {name}")))


def only(text):
    """The one layer of a source that has one."""
    (layer,) = read(f"layers = [{text}];").layers
    return layer


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_prints_as_it_does_there():
    printed = listing(read(EXAMPLE))
    assert [line.lstrip() for line in printed.splitlines()] == TABLE.splitlines()
    indexed = printed.splitlines()[2:]
    assert {len(line) - len(line.lstrip()) + len(line.split()[0]) for line in indexed} == {6}  # right-aligned numbers


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("imageInputLayer([32 24 3],'Normalization','none')", "32x24x3 images"),
        ("imageInputLayer([5 7])", "5x7x1 images with 'zerocenter' normalization"),
        ("featureInputLayer(21)", "21 features"),
        ("featureInputLayer(4,Normalization='zscore')", "4 features with 'zscore' normalization"),
        ("convolution2dLayer([3 5],16,'Padding','same')", "16 3x5 convolutions with stride [1  1] and padding 'same'"),
        ("convolution2dLayer(11,96,'Stride',4,'Padding',[1 2 3 4],'NumChannels',3)", "96 11x11x3 convolutions with stride [4  4] and padding [1  2  3  4]"),
        ("convolution2dLayer(3,8,'DilationFactor',[2 3],'Padding',1)", "8 3x3 convolutions with stride [1  1], dilation factor [2  3], and padding [1  1  1  1]"),
        ("groupedConvolution2dLayer(5,128,2,'Padding',[2 1])", "2 groups of 128 5x5 convolutions with stride [1  1] and padding [2  2  1  1]"),
        ("groupedConvolution2dLayer(3,1,'channel-wise')", "channel-wise 1 3x3 convolutions with stride [1  1] and padding [0  0  0  0]"),
        ("transposedConv2dLayer(4,64,'Stride',2,'Cropping',1)", "64 4x4 transposed convolutions with stride [2  2] and cropping [1  1  1  1]"),
        ("transposedConv2dLayer(4,64,'Stride',2,'Cropping','same')", "64 4x4 transposed convolutions with stride [2  2] and cropping 'same'"),
        ("averagePooling2dLayer([2 3])", "2x3 average pooling with stride [1  1] and padding [0  0  0  0]"),
        ("leakyReluLayer(1/3)", "Leaky ReLU with scale 0.33333"),
        ("leakyReluLayer(-2)", "Leaky ReLU with scale -2"),
        ("clippedReluLayer(6)", "Clipped ReLU with ceiling 6"),
        ("eluLayer", "ELU with Alpha 1"),
        ("dropoutLayer", "50% dropout"),
        ("dropoutLayer(0.25)", "25% dropout"),
        ("crossChannelNormalizationLayer(5)", "cross channel normalization with 5 channels per element"),
        ("batchNormalizationLayer('Offset',[1;2;3])", "Batch normalization with 3 channels"),
        ("additionLayer(3)", "Element-wise addition of 3 inputs"),
        ("regressionLayer", "mean-squared-error"),
    ],
)  # fmt: skip
def test_a_layer_is_described_as_matlab_describes_it(text, described):
    layer = only(text)
    assert layer.kind.describe(layer) == described


def test_columns_are_as_wide_as_what_stands_in_them():
    lines = listing(read("layers = [reluLayer('Name','a') leakyReluLayer('Name','long name')]")).splitlines()
    assert lines[0] == "  1x2 Layer array with layers:"  # written in one line it is a row
    assert lines[2:] == [
        "     1   'a'           ReLU         ReLU",
        "     2   'long name'   Leaky ReLU   Leaky ReLU with scale 0.01",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.01, "0.01"), (1 / 3, "0.33333"), (123.456, "123.456"), (0.0123456789, "0.012346"), (12345.6789, "12345.6789"), (1e-8, "1e-08"), (float("nan"), "NaN"), (float("-inf"), "-Inf"), (-0.25, "-0.25")],
)  # fmt: skip
def test_numbers_are_written_as_num2str_does(number, text):
    assert num2str(number) == text


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("leakyReluLayer", {"Scale": 0.01}),
        ("leakyReluLayer()", {"Scale": 0.01}),
        ("leakyReluLayer(0.4)", {"Scale": 0.4}),
        ("leakyReluLayer('Name','x')", {"Scale": 0.01}),
        ("leakyReluLayer('Scale',2,'Name','x')", {"Scale": 2.0}),
        ("leakyReluLayer(Scale=0.3, Name=\"x\")", {"Scale": 0.3}),
        ("leakyReluLayer(0.1, name='x')", {"Scale": 0.1}),
        ("leakyReluLayer(1e-3)", {"Scale": 1e-3}),
        ("leakyReluLayer(-.5)", {"Scale": -0.5}),
        ("eluLayer(2^-1)", {"Alpha": 0.5}),
        ("maxPooling2dLayer(2)", {"PoolSize": (2, 2), "Stride": (1, 1), "Padding": (0, 0, 0, 0)}),
        ("maxPooling2dLayer([2 3],'Stride',[3 2],'Padding',[1 0])", {"PoolSize": (2, 3), "Stride": (3, 2), "Padding": (1, 1, 0, 0)}),
        ("averagePooling2dLayer(2,'PaddingValue','mean')", {"PaddingValue": "mean"}),
        ("averagePooling2dLayer(2)", {"PaddingValue": 0.0}),
        ("batchNormalizationLayer", {"Epsilon": 1e-5, "MeanDecay": 0.1}),
        ("imageInputLayer([4 5 6])", {"InputSize": (4, 5, 6), "Normalization": "zerocenter"}),
        ("convolution2dLayer(3,8,'Padding','SAME')", {"Padding": "same"}),
        ("groupedConvolution2dLayer(3,2,'channel-wise','Padding',2)", {"NumGroups": "channel-wise", "Padding": (2, 2, 2, 2)}),
        ("transposedConv2dLayer(3,2)", {"Cropping": (0, 0, 0, 0), "Stride": (1, 1)}),
        ("fullyConnectedLayer(10,'WeightLearnRateFactor',20,'BiasL2Factor',0)", {"OutputSize": 10}),
    ],
)  # fmt: skip
def test_arguments_and_defaults_are_matlabs(text, settings):
    layer = only(text)
    assert {name: layer.settings[name] for name in settings} == settings


@pytest.mark.parametrize(("text", "given"), [("leakyReluLayer", set()), ("leakyReluLayer('Name','x')", set()), ("leakyReluLayer(0.01)", {"Scale"}), ("leakyReluLayer(Scale=0.01)", {"Scale"})])  # fmt: skip
def test_a_slope_that_is_stated_is_told_from_one_that_is_left_out(text, given):
    assert only(text).given == given


def test_a_slope_that_is_no_finite_number_is_read():
    assert np.isnan(only("leakyReluLayer(NaN)").Scale) and only("leakyReluLayer(-Inf)").Scale == -np.inf


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leakyReluLayer('Scal',3)", "leakyReluLayer has no argument 'Scal' at line 1, column 11"),
        ("leakyReluLayer(0.1,0.2)", "no pairs of names and values"),
        ("leakyReluLayer([1 2])", "Scale of leakyReluLayer is not one number"),
        ("leakyReluLayer('Name')", "no pairs"),
        ("leakyReluLayer('Name',3)", "is no text"),
        ("clippedReluLayer", "lacks its argument Ceiling"),
        ("convolution2dLayer(3)", "lacks its argument NumFilters"),
        ("convolution2dLayer(0,3)", "FilterSize of convolution2dLayer is not whole numbers, 1 or more"),
        ("convolution2dLayer(2.5,3)", "whole numbers"),
        ("convolution2dLayer([1 2 3],3)", "one or two whole numbers"),
        ("convolution2dLayer(3,4,'Padding',-1)", "whole numbers, 0 or more"),
        ("convolution2dLayer(3,4,'Padding','valid')", "'same'"),
        ("convolution2dLayer(3,4,'Padding',[1 2 3])", "one, two or four"),
        ("convolution2dLayer(3,4,'Stride',NaN)", "whole numbers"),
        ("imageInputLayer(28)", "[height width channels]"),
        ("imageInputLayer([2 2 2],'Normalization','minmax')", "'zerocenter' or"),
        ("reluLayer(3)", "no pairs"),
        ("reluLayer + 1", "no number"),
        ("3", "no layer array"),
        ("reluLayer, 3", "something that is no layer"),
        ("leakyReluLayer(Scale=1, 2)", "followed by one without a name at line 1, column 35"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_with_its_place(text, message):
    with pytest.raises(Usage) as error:
        read(f"layers = [{text}];")
    assert message in str(error.value)


def test_functions_that_are_no_layers_are_named_all_at_once_with_their_lines():
    text = "layers = [\n imageInputLayer([4 4 1])\n lstmLayer(3)\n reluLayer\n system('rm x')\n leakyReluLayer(foo)];"
    with pytest.raises(Unsupported) as error:
        read(text)
    assert [(row.native, row.where) for row in error.value.missing] == [
        ("lstmLayer", "line 3 of net.m"), ("system", "line 5 of net.m"), ("foo", "line 6 of net.m"),
    ]  # fmt: skip


# --- sources ----------------------------------------------------------------------------------------------------------


def test_other_statements_do_not_matter_until_the_network_needs_them():
    text = """
        clear all; close all, clc
        data = imageDatastore('x', 'Labels', "y"); [a, b] = 3;
        n = 4 * 2; size = [28, 28 1]';
        slope = 1/4;
        layers = [imageInputLayer(size'); convolution2dLayer(3, n); leakyReluLayer(slope)];
        layers = [layers; fullyConnectedLayer(n / 4)];
        options = trainingOptions('sgdm', 'InitialLearnRate', 0.01);
        net = trainNetwork(data, layers, options);
        x = data(1:3, end);
        plot(x(:, 1))
        """.replace("[a, b] = 3;", "")
    made = read(text)
    assert [layer.function for layer in made.layers] == [
        "imageInputLayer",
        "convolution2dLayer",
        "leakyReluLayer",
        "fullyConnectedLayer",
    ]
    assert (made.layers[1].NumFilters, made.layers[2].Scale, made.layers[3].OutputSize) == (8, 0.25, 2)


@pytest.mark.parametrize(
    "text",
    [
        "layers = [reluLayer];\nlayers(1) = leakyReluLayer(0.3);",
        "layers = [reluLayer];\nlayers(end+1) = leakyReluLayer(0.3);",
        "layers = [reluLayer];\n[layers, x] = other(3);",
        "layers = [reluLayer];\nlayers = replaceLayer(layers, 1, reluLayer);",
        "layers = [reluLayer];\nlayers.Name = 'x';",
        "lgraph = layerGraph([reluLayer]);\nlgraph = removeLayers(lgraph, 'relu');",
        "if true\nlayers = [reluLayer];\nend",
        "for k = 1:3\nlayers = [reluLayer];\nend",
        "function f\nlayers = [reluLayer];",
        "x = 3;",
        "",
        "layers = 'reluLayer';",
        "layers = [reluLayer(Name='a') tanhLayer(Name='a')];",
    ],
)  # fmt: skip
def test_what_changes_a_network_in_a_way_that_is_not_read_is_no_other_network(text):
    with pytest.raises((Usage, Unsupported)):
        read(text)


def test_unnamed_layers_are_named_as_trainnetwork_names_them():
    titles = [layer.title for layer in read(EXAMPLE).layers]
    assert (
        titles
        == "imageinput conv_1 batchnorm_1 leakyrelu_1 maxpool conv_2 batchnorm_2 leakyrelu_2 fc softmax classoutput".split()
    )
    taken = read("layers = [reluLayer('Name','relu_1') reluLayer reluLayer]").layers
    assert [layer.title for layer in taken] == ["relu_1", "relu_2", "relu_3"]


def test_a_layer_graph_joins_its_layers():
    made = read(
        "lgraph = layerGraph([imageInputLayer([4 4 2],'Name','in') convolution2dLayer(1,2,'Name','c') additionLayer(2,'Name','add')]);\n"
        "lgraph = addLayers(lgraph, leakyReluLayer('Name','skip'));\n"
        "lgraph = connectLayers(lgraph,'in','skip');\nlgraph = connectLayers(lgraph,'skip','add/in2');"
    )
    assert made.feeds == {"c": ["in"], "add": ["c", "skip"], "skip": ["in"]}


@pytest.mark.parametrize(
    "line",
    ["connectLayers(lgraph,'in','add/in1')", "connectLayers(lgraph,'nobody','add/in2')", "connectLayers(lgraph,'in','add/in3')", "connectLayers(lgraph,'in','add/out')", "connectLayers(lgraph,'in')"],
)  # fmt: skip
def test_a_wrong_connection_is_an_error(line):
    with pytest.raises(Usage):
        read(
            f"lgraph = layerGraph([imageInputLayer([4 4 2],'Name','in') additionLayer(2,'Name','add')]);\nlgraph = {line};"
        )


@pytest.mark.parametrize("name", ["../net.mat", "/etc/passwd", "a/b.mat", ".hidden", "https://x.y/z", ""])
def test_a_source_loads_no_file_elsewhere(name):
    with pytest.raises(Usage, match=r"beside it|takes the name|never closed|not read"):
        read(f"w = load('{name}');\nlayers = [fullyConnectedLayer(3,'Weights',w.x)];")


# --- hostile text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers = [reluLayer", "'[' is never closed at line 1, column 10"),
        ("x = 1;\nlayers = [reluLayer)];", "')' closes nothing at line 2, column 20"),
        ("layers = ['abc\n];", "does not end on its line at line 1, column 11"),
        ("x = 3;\n  y = $;", "'$' is not understood at line 2, column 7"),
        ("layers = [reluLayer,,tanhLayer];", "an element is missing before ',' at line 1, column 21"),
        ("%{\nlayers = [reluLayer];", "'%{' is never closed at line 1"),
        ("x = " + "[" * 100 + "]" * 100, "nested more than 60 deep"),
        ("layers = [dropoutLayer(" + "-" * 500 + "1)]", "too many signs"),
        ("layers = [dropoutLayer(" + "1+" * 5000 + "1)]", "more than 200 operators"),
        ("layers = [dropoutLayer(x" + "'" * 5000 + ")]", "more than 200 operators"),
        ("layers = [dropoutLayer(" + "1^" * 5000 + "1)]", "more than 200 operators"),
        ("x" * (5 << 20), "longer than"),
        ("layers = [fullyConnectedLayer(2,'Weights',zeros(99999,99999))]", "more than 16,777,216 numbers"),
        ("a = zeros(1,9999); b = a' * a; layers = [fullyConnectedLayer(2,'Weights',b)]", "products of matrices"),
        ("a = zeros(1,9999); b = a' .* a; layers = [fullyConnectedLayer(2,'Weights',b)]", "more than 16,777,216 numbers"),
        ("layers = [reluLayer];\n" + "layers = [layers; layers];\n" * 40, "more than 10,000 layers"),
        ("a = zeros(1,9999);\n" + "a = [a a];\n" * 40 + "layers = [fullyConnectedLayer(2,'Weights',a)]", "more than 16,777,216 numbers"),
        ("a = 'aaaaaaaaaaaaaaaa';\n" + "a = [a a];\n" * 40 + "layers = [reluLayer('Name',a)]", "too long"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_line_and_column(text, message):
    with pytest.raises(Usage) as error:
        read(text)
    assert message in str(error.value)


@given(st.text(st.sampled_from(list("[](){}'\"%.,;=+-*/^ \n\t:1e3aL")) | st.characters(codec="utf-8"), max_size=60))
def test_no_text_does_anything_but_read_or_be_refused(text):
    try:
        parse(text, "net.m")
        read(f"layers = [{text}]", lambda name: {})
    except LeakyInteropError:
        pass


# --- the table of functions -------------------------------------------------------------------------------------------


def test_every_function_that_computes_is_read():
    for name, kind in FUNCTIONS.items():
        assert (importer_of("matlab", name) is not None) == kind.computes, name
