import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.networks import build_network
from models.networks.character_net import CharacterNet, frame_ink


def drawing(top: int, left: int, scale: int = 1, *, size: int = 105) -> Tensor:
    """A letter L in black on white."""
    picture = torch.full((1, 1, size, size), 255.0)
    picture[:, :, top : top + 20 * scale, left : left + 4 * scale] = 0
    picture[:, :, top + 16 * scale : top + 20 * scale, left : left + 12 * scale] = 0
    return picture


def test_neither_place_nor_size_of_a_drawing_matters() -> None:
    here = frame_ink(drawing(10, 12), 64)

    for other in (drawing(60, 70), drawing(30, 30, 2), drawing(5, 50, 3)):
        assert (frame_ink(other, 64) - here).abs().mean() < 0.12

    assert (frame_ink(drawing(10, 12).flip(3), 64) - here).abs().mean() > 0.5


def test_the_frame_is_centred_on_the_ink() -> None:
    ink = (frame_ink(drawing(60, 7), 64) * 0.25 + 0.08)[0, 0]
    positions = torch.arange(64) - 31.5

    assert abs(float((ink.sum(dim=0) * positions).sum() / ink.sum())) < 1
    assert abs(float((ink.sum(dim=1) * positions).sum() / ink.sum())) < 1


def test_a_tall_drawing_stays_taller_than_a_wide_one() -> None:
    tall = torch.full((1, 1, 105, 105), 255.0)
    tall[:, :, 20:80, 40:60] = 0

    ink = frame_ink(tall, 64)[0, 0] > 1

    height, width = int(ink.any(dim=1).sum()), int(ink.any(dim=0).sum())
    assert 1.3 < height / width < 2.4  # the drawing's is 3: the frame takes half of it away


def test_contrast_and_scale_of_the_pixels_do_not_matter() -> None:
    picture = drawing(20, 20)

    assert torch.allclose(frame_ink((picture - 127.5) / 64, 64), frame_ink(picture, 64), atol=1e-3)
    assert torch.allclose(frame_ink(100 + picture / 3, 64), frame_ink(picture, 64), atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_a_picture_of_one_colour_has_an_embedding_too(level: float) -> None:
    torch.manual_seed(0)
    network = CharacterNet().eval()
    blank = torch.full((2, 1, 40, 30), level, requires_grad=True)

    embeddings = network(blank)
    embeddings.sum().backward()

    assert embeddings.isfinite().all()
    assert blank.grad is not None
    assert blank.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_pictures_of_any_size(channels: int) -> None:
    torch.manual_seed(0)
    network = build_network("character_net", dimension=32, channels=channels).eval()

    assert network(torch.rand(3, channels, 105, 105)).shape == (3, 32)
    assert network(torch.rand(2, channels, 61, 47)).shape == (2, 32)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert 0.75e6 < parameters < 0.85e6


@torch.no_grad()
def test_the_same_drawing_elsewhere_has_the_same_embedding() -> None:
    torch.manual_seed(0)
    network = CharacterNet().eval()
    here, there, other = (
        F.normalize(network((picture - 127.5) / 64))[0]
        for picture in (drawing(10, 12), drawing(51, 62), drawing(10, 12).flip(2))
    )

    assert float((here - there).norm()) < 0.05 < float((here - other).norm())
