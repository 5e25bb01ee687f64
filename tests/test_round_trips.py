"""The exceptions to "a round trip ends where it began", each as the README's table states it."""

import keras
import network_checks as checks
import numpy as np
import torch

import leaky_interop as li


def test_batch_counters_start_anew():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    network.train()(torch.randn(5, 3, 4, 4))
    assert network[1].num_batches_tracked == 1
    there = li.convert(network, to="keras", example=(torch.zeros(2, 3, 4, 4),))
    back = li.convert(there, to="torch")
    state = {key.rpartition(".")[2]: value for key, value in back.state_dict().items() if "1." in key}
    assert state["num_batches_tracked"] == 0
    assert torch.equal(state["running_mean"], network[1].running_mean)


def mixed():
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs))
    model.get_layer("dense").bias.trainable = False
    return model


def test_mixed_flags_of_one_layer_survive_in_memory_but_not_in_a_keras_file(tmp_path):
    model = mixed()
    back = li.convert(li.convert(model, to="torch"), to="keras")
    flags = [v.trainable for v in back.get_layer("dense").variables]
    assert flags == [True, False]
    back.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert [v.trainable for v in loaded.get_layer("dense").variables] == [True, True]


def test_flags_go_through_onnx_files_written_here_and_no_others():
    proto = li.convert(mixed(), to="onnx")
    assert [p.trainable for p in li.load(proto).parameters()] == [True, False]
    del proto.metadata_props[:]
    assert [p.trainable for p in li.load(proto).parameters()] == [True, True]


def test_names_with_every_separator_survive():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_1 = torch.nn.Conv2d(3, 3, 1)
            self.conv__2 = torch.nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return torch.nn.functional.leaky_relu(self.conv__2(self.conv_1(x)), 0.3)

    network = torch.nn.Sequential(Block(), Block())
    graph = li.load(network, (torch.zeros(2, 3, 4, 4),))
    back = li.load(li.convert(li.convert(network, to="keras", example=(torch.zeros(2, 3, 4, 4),)), to="torch"))
    checks.same_graph(graph, back)


def test_slopes_come_back_as_the_numbers_they_were():
    slopes = (0.01, 0.1, 0.2, 0.3, 1 / 3, 1e-7, 0.12345678901234567)
    network = torch.nn.Sequential(*(torch.nn.LeakyReLU(s) for s in slopes))
    x = (torch.zeros(2, 3),)

    def found(model, *given):
        return [n.op.negative_slope for n in li.load(model, *given).nodes]

    assert found(li.convert(li.convert(network, to="keras", example=x), to="torch")) == list(slopes)
    through_onnx = found(li.convert(network, to="onnx", example=x))
    assert [np.float32(s) for s in through_onnx] == [np.float32(s) for s in slopes]
    assert through_onnx[:4] == [0.01, 0.1, 0.2, 0.3]  # the shortest decimal of the 32 bits
