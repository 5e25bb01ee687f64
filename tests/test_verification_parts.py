"""Two networks that put one sum together in other parts agree; what is exact by itself, or wrong, is still found."""

import keras
import numpy as np
import pytest
import torch

import leaky_interop as li

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Apart(torch.nn.Module):
    """Convolution and batch norm, or one convolution that is both."""

    def __init__(self, folded: bool, slope: float = 0.2, wrong: float = 0.0):
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        norm = torch.nn.BatchNorm2d(4)
        with torch.no_grad():
            for tensor, low in ((norm.weight, 0.5), (norm.bias, -1), (norm.running_mean, -1), (norm.running_var, 0.5)):
                tensor.uniform_(low, 1.5)
        self.norm = torch.nn.Identity() if folded else norm
        self.act = torch.nn.LeakyReLU(slope)
        self.eval()
        if folded:
            self.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(self.conv.eval(), norm.eval())
            with torch.no_grad():
                self.conv.weight[0, 0, 0, 0] += wrong

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


def test_a_batch_norm_within_the_convolution_agrees_and_is_told():
    report = li.verify(Apart(False), Apart(True), example=(X,))
    assert report.passed
    assert any(note.startswith("conv") and "other parts" in note for note in report.notes)


@pytest.mark.parametrize("more", [{"slope": 0.21}, {"wrong": 1e-3}])
def test_what_is_wrong_is_found_all_the_same(more):
    assert not li.verify(Apart(False), Apart(True, **more), example=(X,)).passed


def test_a_slope_in_another_rounding_is_no_part():
    """One ulp of a slope would vanish in the sums that follow."""

    class Two(torch.nn.Module):
        def __init__(self, slope):
            super().__init__()
            torch.manual_seed(1)
            self.act, self.linear = torch.nn.LeakyReLU(slope), torch.nn.Linear(8, 4)

        def forward(self, x):
            return self.linear(self.act(x))

    report = li.verify(Two(0.2), Two(float(np.nextafter(np.float32(0.2), np.float32(1)))), example=(X,))
    assert not report.passed
    assert report.first_difference.name == "act"


def test_a_flatten_of_channels_last_agrees():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d((4, 5)), torch.nn.Flatten(), torch.nn.Linear(80, 3)
    ).eval()
    made = li.convert(net, to="keras", example=(X,))
    assert li.verify(net, made, example=(X,)).passed
    dense = next(layer for layer in made.layers if isinstance(layer, keras.layers.Dense))
    kernel = np.array(dense.kernel)
    dense.kernel.assign(kernel[np.roll(np.arange(80), 1)])
    assert not li.verify(net, made, example=(X,)).passed


class Square(torch.nn.Module):
    """Channels, rows and columns of one size: shapes do not tell in which layout the other network splits."""

    def __init__(self, act=torch.nn.Sigmoid, turned=False):
        super().__init__()
        torch.manual_seed(1)
        self.linear, self.turned = torch.nn.Linear(4, 8), turned
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(4, 4, 3, padding=1, groups=4) for _ in range(2))
        self.act = act()

    def forward(self, x):
        y = self.act(self.linear(x).transpose(1, 2).reshape(-1, 8, 4, 4))
        one, other = (y.transpose(2, 3) if self.turned else y).split((4, 4), 1)
        return torch.cat([self.convs[0](one), self.convs[1](other)], 1).flatten(2).transpose(1, 2)


TOKENS = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(2))


def test_one_job_in_two_layouts_agrees():
    source = Square().eval()
    made = li.convert(source, to="keras", example=(TOKENS,))
    report = li.verify(source, made, example=(TOKENS,))
    assert report.passed, str(report)
    assert any("split" in note and "compared with what follows" in note for note in report.notes)
    assert not li.verify(Square(turned=True).eval(), made, example=(TOKENS,)).passed
    kernel = made.get_layer("convs__1").weights[0]
    kernel.assign(np.array(kernel)[::-1])
    assert not li.verify(source, made, example=(TOKENS,)).passed


def test_an_activation_of_another_slope_is_found_where_layouts_differ():
    made = li.convert(Square(lambda: torch.nn.LeakyReLU(0.2)).eval(), to="keras", example=(TOKENS,))
    assert not li.verify(Square(lambda: torch.nn.LeakyReLU(0.2002)).eval(), made, example=(TOKENS,)).passed


def test_layers_of_computed_kernels_are_found_by_name():
    """A transposed convolution is a convolution of what is dilated in the other network: order alone would pair wrongly."""
    torch.manual_seed(0)
    layers = [torch.nn.ConvTranspose1d(4, 4, 4, 2, 1), *(torch.nn.Conv1d(4, 4, 3, padding=1) for _ in range(2))]
    normed = [torch.nn.utils.parametrizations.weight_norm(layer) for layer in layers]
    source = torch.nn.Sequential(*(part for layer in normed for part in (torch.nn.LeakyReLU(0.2), layer))).eval()
    x = torch.randn(2, 4, 7)
    made = li.convert(source, to="keras", example=x)
    assert li.verify(source, made, example=x).passed
    source[5].parametrizations.weight.original0.data *= 1.01
    assert not li.verify(source, made, example=x).passed
