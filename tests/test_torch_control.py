"""torch.cond, while_loop, scan and map are read, with what they capture, and written so that torch can export them again."""

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch._higher_order_ops import scan, while_loop
from torch._higher_order_ops.map import map as torch_map

import leaky_interop as li
from leaky_interop.errors import Refused

LOOP = """<ir_version: 10, opset_import: ["": 21]>
agraph (float[3] x, bool begin, int64 most) => (float[3] last) {
    limit = Constant<value_float = 30.0>()
    last = Loop (most, begin, x) <body = body (int64 i, bool c, float[3] v) => (bool c2, float[3] w) {
        two = Constant<value_float = 2.0>()
        w = Mul(v, two)
        sum = ReduceSum<keepdims = 0>(w)
        c2 = Less(sum, limit)
    }>
}"""


class Net(torch.nn.Module):
    """A module whose forward is a function of it and its input."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("limit", torch.tensor(3.0))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def decides(self, x):
    total = x.sum()
    return torch.cond(
        total > 0, lambda a: self.linear(a) * total, lambda a: torch.nn.functional.leaky_relu(a - 1, 0.2), (x,)
    )


def several(self, x):
    return torch.cond(x[0, 0] > 0, lambda a: (a * 2, a.sum(1)), lambda a: (a - 1, a.amax(1)), (x,))


def of_sizes(self, x):
    return torch.cond(x.shape[0] > 2, lambda a: a * x.shape[0], lambda a: a - 1, (x,))


def nested(self, x):
    def turn(i, a):
        return i + 1, torch.cond(
            a.sum() > self.limit, lambda a: a * 0.5, lambda a: torch.relu(self.linear(a)) + a, (a,)
        )

    return while_loop(lambda i, a: i < 4, turn, (torch.tensor(0), x))


def until(self, x):
    return while_loop(
        lambda i, a: (a.abs().sum() < 100) & (i < 9), lambda i, a: (i + 1, a * 1.5 + self.limit), (torch.tensor(1), x)
    )


def walks(self, x):
    return scan(lambda c, a: (self.linear(c) + a, c * a), torch.zeros(4), x)


def walks_back(self, x):
    return scan(
        lambda c, a: (c + a, torch.nn.functional.leaky_relu(c, 0.3)), torch.ones(x.shape[0], 4), x, dim=1, reverse=True
    )


def maps(self, x):
    return torch_map(lambda a, b: self.linear(a) * b.sum(), x, x + 1)


def quiet(self, x):
    """A part without gradients, an in-place form and what torch decomposes, inside a branch."""

    def then(a):
        with torch.no_grad():
            b = a * 2
        return torch.nn.functional.pairwise_distance(b.add_(1), a)

    return torch.cond(x.mean() > 0, then, lambda a: a.sum(1), (x,))


LOOPS = [nested, until, maps, walks]
SHAPES = {walks_back: (3, 5, 4)}


@pytest.mark.parametrize("function", [decides, several, of_sizes, nested, until, walks, walks_back, maps, quiet])
def test_control_flow_is_read(function, tmp_path):
    shape = SHAPES.get(function, (3, 4))
    net = Net(function).eval()
    example = (torch.randn(*shape, generator=torch.Generator().manual_seed(1)),)
    made = li.convert(net, to="onnx", example=example)
    again = li.convert(net, to="torch", example=example)
    li.convert(made, tmp_path / "net.pt2", verify=False)
    for batch in (1, 2, 7):
        for sign in (1, -1):
            x = sign * torch.rand(batch, *shape[1:], generator=torch.Generator().manual_seed(batch))
            wanted = net(x)
            wanted = [w.detach().numpy() for w in (wanted if isinstance(wanted, tuple | list) else [wanted])]
            for other in (made, again, tmp_path / "net.pt2"):
                found = li.run(other, [x.numpy()])
                for one, two in zip(wanted, found if isinstance(found, list | tuple) else [found], strict=True):
                    np.testing.assert_allclose(np.asarray(two), one, rtol=2e-5, atol=2e-6, strict=True)
    assert li.verify(net, made, example=example).passed


@pytest.mark.parametrize("function", [decides, several, of_sizes])
def test_branches_go_to_keras(function):
    net, example = Net(function).eval(), (torch.randn(3, 4),)
    made = li.convert(net, to="keras", example=example)
    for sign in (1, -1):
        x = sign * torch.rand(5, 4)
        wanted = net(x)
        found = li.run(made, [x.numpy()])
        for one, two in zip(wanted if isinstance(wanted, tuple | list) else [wanted], found, strict=True):
            np.testing.assert_allclose(np.asarray(two), one.detach().numpy(), rtol=2e-5, atol=2e-6, strict=True)


@pytest.mark.parametrize("function", LOOPS)
def test_loops_of_open_length_are_refused_by_keras(function):
    with pytest.raises(Refused, match="number of rounds is known only at run time"):
        li.convert(Net(function).eval(), to="keras", example=(torch.randn(3, 4),))


def test_a_known_condition_leaves_its_branch():
    net = Net(lambda self, x: torch.cond(torch.tensor(True), lambda a: a * 2, lambda a: a - 1, (x,)))
    assert [type(n.op).__name__ for n in li.load(net, example=(torch.randn(3, 4),)).nodes] == ["Mul"]


def test_a_number_of_python_that_goes_round_is_refused():
    net = Net(lambda self, x: while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2), (0, x)))
    with pytest.raises(Refused, match="a number of Python that goes round"):
        li.load(net, example=(torch.randn(3, 4),))


def test_a_loop_of_onnx_is_exported_and_read_again(tmp_path):
    model = onnx.parser.parse_model(LOOP)
    li.convert(model, tmp_path / "net.pt2", verify=False)
    li.convert(tmp_path / "net.pt2", tmp_path / "net.onnx", verify=False)
    assert "Loop" in {n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node}
    for begin, most in [(True, 50), (True, 2), (True, 0), (False, 50)]:
        arrays = [np.ones(3, np.float32), np.array(begin), np.array(most)]
        wanted = np.ones(3, np.float32) * 2.0 ** (begin * min(most, 4))
        for path in (model, tmp_path / "net.pt2", tmp_path / "net.onnx"):
            np.testing.assert_array_equal(np.asarray(li.run(path, arrays)).reshape(3), wanted)


def test_a_loop_exported_before_fixes_no_size_of_the_next(tmp_path):
    """Torch compiles what walks along a list, and would hold the next one to the length of the first."""
    net = Net(walks_back).eval()
    fixed = li.convert(net, to="onnx", example=(torch.randn(3, 5, 4),))
    li.convert(fixed, tmp_path / "fixed.pt2", verify=False)
    text = """<ir_version: 10, opset_import: ["": 21]>
    agraph (float[batch, 4] h, float[batch, steps, 4] x) => (float[batch, 4] last, float[steps, batch, 4] rows) {
        last, rows = Scan <num_scan_inputs = 1, scan_input_axes = [1], body = body (float[batch, 4] s, float[batch, 4] v)
            => (float[batch, 4] t, float[batch, 4] u) { t = Add(s, v)  u = LeakyRelu<alpha = 0.3>(t) }> (h, x)
    }"""
    model = onnx.parser.parse_model(text)
    li.convert(model, tmp_path / "open.pt2", verify=False)
    for steps in (1, 5, 3):
        arrays = [np.ones((2, 4), np.float32), np.full((2, steps, 4), -0.75, np.float32)]
        for one, two in zip(li.run(model, arrays), li.run(tmp_path / "open.pt2", arrays), strict=True):
            np.testing.assert_array_equal(two, one)
