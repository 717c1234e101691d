"""OSNet: the published cost, the public names, and a published encoder's outputs."""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.networks import build_network
from models.networks.osnet import AggregationGate, OSNet, osnet_x0_25, osnet_x1_0
from tests.data import real_data

pytestmark = pytest.mark.usefixtures("one_thread")

# Of the checkpoints that torchreid publishes.
PUBLIC = {
    "conv1.conv.weight": (64, 3, 7, 7),
    "conv1.bn.running_var": (64,),
    "conv2.0.conv1.conv.weight": (64, 64, 1, 1),
    "conv2.0.conv2a.conv1.weight": (64, 64, 1, 1),
    "conv2.0.conv2d.3.conv2.weight": (64, 1, 3, 3),
    "conv2.0.conv2d.3.bn.bias": (64,),
    "conv2.0.gate.fc1.weight": (4, 64, 1, 1),
    "conv2.0.gate.fc2.bias": (64,),
    "conv2.0.conv3.conv.weight": (256, 64, 1, 1),
    "conv2.0.downsample.bn.weight": (256,),
    "conv2.2.0.conv.weight": (256, 256, 1, 1),
    "conv3.1.conv2c.2.conv1.weight": (96, 96, 1, 1),
    "conv3.2.0.bn.running_mean": (384,),
    "conv4.0.downsample.conv.weight": (512, 384, 1, 1),
    "conv5.conv.weight": (512, 512, 1, 1),
    "fc.0.weight": (512, 512),
    "fc.1.running_mean": (512,),
}


@pytest.mark.parametrize(
    ("name", "millions", "multiply_adds"),
    [
        ("osnet_x1_0", 2.2, 978.9),
        ("osnet_x0_75", 1.3, 571.8),
        ("osnet_x0_5", 0.6, 272.9),
        ("osnet_x0_25", 0.2, 82.3),
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(
    name: str, millions: float, multiply_adds: float
) -> None:
    network = build_network(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 256, 128))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions
    assert round(counter.get_total_flops() / 2e6, 1) == multiply_adds


def test_names_and_shapes_are_the_public_checkpoints() -> None:
    weights = osnet_x1_0().state_dict()
    assert {name: tuple(weights[name].shape) for name in PUBLIC} == PUBLIC


def test_without_the_last_relu_embeddings_point_everywhere() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 32, 32)
    assert bool((osnet_x0_25(16)(x) >= 0).all())
    assert bool((osnet_x0_25(16, rectified=False)(x) < 0).any())


def test_every_gate_of_the_narrowest_network_starts_able_to_learn() -> None:
    torch.manual_seed(0)
    gates = [module for module in osnet_x0_25().modules() if isinstance(module, AggregationGate)]
    assert len(gates) == 6
    for gate in gates:
        hidden = gate.fc1(torch.rand(100, gate.fc1.in_channels, 1, 1))
        assert bool((hidden > 0).any(dim=0).all())


@pytest.mark.data
def test_a_published_encoders_weights_give_its_outputs() -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra: onnx")
    model = onnx.load(real_data("encoders") / "osnet_x0_25_msmt17.onnx")
    constants = {
        tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer
    }
    network = osnet_x0_25().eval()
    folded = {_place(node.name): node.input[1:] for node in model.graph.node if node.op_type == "Conv"}
    _take_weights(network, constants, folded)
    x = np.random.default_rng(0).standard_normal((3, 3, 256, 128)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": x})
    with torch.inference_mode():
        output = network(torch.from_numpy(x)).numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4)


def _place(node: str) -> str:
    """Return a module's name: "/conv2/conv2.0/gate/fc1/Conv" is of conv2.0.gate.fc1."""
    parts: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):  # a member of a sequence repeats the sequence's name
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def _take_weights(network: OSNet, constants: dict[str, Tensor], folded: dict[str, Sequence[str]]) -> None:
    """Copy a graph's constants, every one of them, into a network.

    The exporter multiplied batch normalisation into the convolutions before it; what is left is a bias.
    """
    weights = {name: tensor for name, tensor in constants.items() if name in network.state_dict()}
    for place, names in folded.items():
        if len(names) == 2 and names[0] not in weights:
            norm = f"{place.rpartition('.')[0]}.bn"
            weights[f"{place}.weight"], weights[f"{norm}.bias"] = (constants[name] for name in names)
            weights[f"{norm}.weight"] = torch.ones_like(constants[names[1]])
            weights[f"{norm}.running_mean"] = torch.zeros_like(constants[names[1]])
            weights[f"{norm}.running_var"] = torch.full_like(constants[names[1]], 1 - 1e-5)  # plus eps: 1
    needed = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(weights) == needed
    network.load_state_dict(weights, strict=False)
