"""ResNet-50: the published size, the public names, and instance-batch normalisation by its definition."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.errors import OptionError
from models.networks import build_network
from models.networks.resnet_ibn import InstanceBatchNorm, resnet50, resnet50_ibn

pytestmark = pytest.mark.usefixtures("one_thread")

# Of torchvision's resnet50.
PUBLIC = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.running_mean": (64,),
    "layer1.0.conv1.weight": (64, 64, 1, 1),
    "layer1.0.conv2.weight": (64, 64, 3, 3),
    "layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "layer1.0.downsample.1.bias": (256,),
    "layer2.0.conv1.weight": (128, 256, 1, 1),
    "layer2.3.bn3.running_var": (512,),
    "layer3.0.downsample.0.weight": (1024, 512, 1, 1),
    "layer3.5.conv2.weight": (256, 256, 3, 3),
    "layer4.0.downsample.1.running_mean": (2048,),
    "layer4.2.conv3.weight": (2048, 512, 1, 1),
    "layer4.2.bn3.num_batches_tracked": (),
}
TORCHVISION_PARAMETERS = 25_557_032
CLASSIFIER_PARAMETERS = 2048 * 1000 + 1000
TORCHVISION_ENTRIES = 320  # of its state dict, the classifier's two among them


def test_names_and_shapes_are_torchvisions() -> None:
    weights = resnet50().state_dict()
    assert {name: tuple(weights[name].shape) for name in PUBLIC} == PUBLIC
    assert len(weights) == TORCHVISION_ENTRIES - 2 + 1  # the pooling's exponent


def test_parameters_and_multiply_adds_are_torchvisions_without_its_classifier() -> None:
    network = resnet50(last_stride=2).eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == TORCHVISION_PARAMETERS - CLASSIFIER_PARAMETERS + 1
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 224, 224))
    assert round(counter.get_total_flops() / 2e9, 2) == 4.09


def test_ibn_is_in_every_block_of_the_first_three_stages_alone() -> None:
    weights = resnet50_ibn().state_dict()
    stages = {name.split(".")[0] for name in weights if ".bn1.IN." in name}
    assert stages == {"layer1", "layer2", "layer3"}
    assert tuple(weights["layer3.5.bn1.IN.weight"].shape) == (128,)
    assert tuple(weights["layer3.5.bn1.BN.running_var"].shape) == (128,)
    assert tuple(weights["layer4.0.bn1.running_var"].shape) == (512,)
    assert len([name for name in weights if name.endswith("bn1.IN.bias")]) == 3 + 4 + 6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_half_is_normalised_by_picture_and_the_other_by_batch(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, 7) * 3 + 2
    norm = InstanceBatchNorm(6)
    with torch.no_grad():
        norm.IN.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.IN.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    output = norm(x.contiguous(memory_format=layout))
    for picture in range(4):
        for channel, (scale, shift) in enumerate([(1.0, 0.5), (2.0, 0.0), (3.0, -1.0)]):
            plane = x[picture, channel]
            expected = (plane - plane.mean()) / (plane.var(unbiased=False) + 1e-5).sqrt() * scale + shift
            torch.testing.assert_close(output[picture, channel], expected, rtol=1e-4, atol=1e-5)
    for channel in range(3, 6):
        plane = x[:, channel]
        expected = (plane - plane.mean()) / (plane.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(output[:, channel], expected, rtol=1e-4, atol=1e-5)


def test_contrast_and_brightness_reach_the_half_of_batch_normalisation_alone() -> None:
    norm = InstanceBatchNorm(4).eval()
    x = torch.randn(2, 4, 5, 5)
    plain, brighter = norm(x), norm(x * 2 + 1)
    torch.testing.assert_close(plain[:, :2], brighter[:, :2], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(plain[:, 2:], brighter[:, 2:], atol=0.1)


@pytest.mark.parametrize(("last_stride", "side"), [(1, 4), (2, 2)])
def test_the_last_stride_decides_how_fine_the_last_map_is(last_stride: int, side: int) -> None:
    network = resnet50(last_stride=last_stride).eval()
    maps: list[torch.Size] = []
    network.layer4.register_forward_hook(lambda _module, _given, output: maps.append(output.shape))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert maps == [torch.Size((1, 2048, side, side))]


def test_other_strides_are_refused() -> None:
    with pytest.raises(OptionError, match="last_stride must be 1 or 2, not 3"):
        build_network("resnet50", last_stride=3)
