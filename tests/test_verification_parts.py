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
