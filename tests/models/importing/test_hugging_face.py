"""Model folders of Hugging Face: the library's own embeddings and preprocessing, or a refusal."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import BundleError, OptionError
from models.importing import ImportOptions, ImportReport, import_encoder
from models.runtime import load_encoder

library: Any = pytest.importorskip("transformers", reason="needs the extra: transformers")
pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PREPROCESSOR = {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": MEAN, "image_std": STD}
PICTURES = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def _clip() -> Any:
    config = library.CLIPConfig(vision_config=LAYERS, text_config=TEXT, projection_dim=6)
    return library.CLIPModel(config)


def _registers() -> Any:
    return library.Dinov2WithRegistersModel(
        library.Dinov2WithRegistersConfig(**LAYERS, num_register_tokens=3)
    )


def _convnext() -> Any:
    return library.ConvNextModel(
        library.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], image_size=32)
    )


def _swin() -> Any:
    sizes = {"embed_dim": 8, "patch_size": 4, "window_size": 4, "image_size": 32}
    return library.SwinModel(library.SwinConfig(depths=[1, 1], num_heads=[2, 2], **sizes))


def vit() -> Any:
    return library.ViTModel(library.ViTConfig(**LAYERS))


def folder_of(tmp_path: Path, model: Any, **preprocessor: Any) -> Path:
    """Save a model as the library does, its numbers moved away from their starts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(tmp_path / "model")
    content = json.dumps(PREPROCESSOR | preprocessor)
    (tmp_path / "model" / "preprocessor_config.json").write_text(content)
    return tmp_path / "model"


def take_in(tmp_path: Path, **given: Any) -> ImportReport:
    return import_encoder(tmp_path / "model", tmp_path / "bundle", ImportOptions(**{"name": "it"} | given))


# The model; what is asked for; the library's own vector; D.
CASES: dict[str, tuple[Callable[[], Any], str | None, Callable[[Any, Any], Any]]] = {
    "vit": (vit, None, lambda model, x: model(x).pooler_output),
    "vit-cls": (vit, "cls", lambda model, x: model(x).last_hidden_state[:, 0]),
    "vit-mean": (vit, "mean", lambda model, x: model(x).last_hidden_state[:, 1:].mean(1)),
    "classifier": (
        lambda: library.ViTForImageClassification(library.ViTConfig(**LAYERS)),
        None,  # it has no pooled output
        lambda model, x: model.vit(x).last_hidden_state[:, 0],
    ),
    "dinov2": (
        lambda: library.Dinov2Model(library.Dinov2Config(**LAYERS)),
        None,
        lambda model, x: model(x).pooler_output,
    ),
    "registers": (_registers, "mean", lambda model, x: model(x).last_hidden_state[:, 4:].mean(1)),
    "convnext": (_convnext, None, lambda model, x: model(x).pooler_output),
    "convnext-mean": (_convnext, "mean", lambda model, x: model(x).last_hidden_state.mean((2, 3))),
    "swin": (_swin, None, lambda model, x: model(x).pooler_output),
    "clip": (_clip, None, lambda model, x: model.visual_projection(model.vision_model(x).pooler_output)),
    "clip-pooled": (_clip, "pooled", lambda model, x: model.vision_model(x).pooler_output),
}


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_the_librarys(tmp_path: Path, case: str) -> None:
    make, take, forward = CASES[case]
    model = make().eval()
    folder_of(tmp_path, model)
    manifest = take_in(tmp_path, take=take).encoder.manifest
    x = (torch.tensor(PICTURES) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.inference_mode():
        expected = forward(model, x.permute(0, 3, 1, 2).contiguous()).numpy()
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert manifest.dimension == expected.shape[1]
    got = load_encoder(tmp_path / "bundle", device="cpu").encode(PICTURES)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_a_vision_tower_with_its_projection_is_taken_as_it_is(tmp_path: Path) -> None:
    config = library.CLIPVisionConfig(**LAYERS, projection_dim=16)  # as long as what it projects
    folder_of(tmp_path, library.CLIPVisionModelWithProjection(config))
    manifest = take_in(tmp_path).encoder.manifest
    assert manifest.architecture is not None
    assert (manifest.architecture.params["projected"], manifest.dimension) == (True, 16)


@pytest.mark.parametrize(
    ("given", "size", "mean", "std", "resize", "note"),
    [
        ({}, (32, 32), 102, 51, "bicubic", False),
        ({"size": 40, "resample": 2}, (40, 40), 102, 51, "bilinear", False),
        ({"size": {"shortest_edge": 40}}, (40, 40), 102, 51, "bicubic", True),
        (
            {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 24}},
            (32, 24),
            102,
            51,
            "bicubic",
            True,
        ),
        ({"do_rescale": False}, (32, 32), 0.4, 0.2, "bicubic", False),
        ({"rescale_factor": 1 / 127.5}, (32, 32), 51, 25.5, "bicubic", False),
        ({"do_normalize": False}, (32, 32), 0, 255, "bicubic", False),
        ({"resample": 0}, (32, 32), 102, 51, "bilinear", True),
    ],
)
def test_the_preprocessing_is_read(
    tmp_path: Path, given: Any, size: Any, mean: float, std: float, resize: str, note: bool
) -> None:
    folder_of(tmp_path, vit(), **given)
    report = take_in(tmp_path, licence="Apache-2.0")
    spec = report.encoder.manifest.input
    assert ((spec.height, spec.width), spec.resize, spec.channels) == (size, resize, "rgb")
    assert (spec.mean[0], spec.std[0]) == pytest.approx((mean, std))
    assert any("here the whole picture" in line or "not offered" in line for line in report.notes) == note
    assert report.encoder.manifest.licence == "Apache-2.0"


def test_weights_in_several_files_are_put_together(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, vit())
    first = take_in(tmp_path).encoder.manifest.fingerprint
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert take_in(tmp_path).encoder.manifest.fingerprint == first
    index["weight_map"][names[0]] = "../a.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BundleError, match="files beside it"):
        take_in(tmp_path)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def _configured(**given: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | given))

    return change


def _rewritten(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


REFUSED: list[tuple[Callable[[Path], object], dict[str, Any], str]] = [
    (_pickled, {}, r"weights in pytorch_model\.bin, a pickle, .*only model\.safetensors is loaded"),
    (lambda folder: (folder / "model.safetensors").unlink(), {}, r"has no model\.safetensors"),
    (lambda folder: (folder / "config.json").unlink(), {}, r"has no config\.json"),
    (_rewritten("config.json", "{"), {}, r"config\.json is no JSON"),
    (_rewritten("config.json", "[]"), {}, "holds no JSON object"),
    (_rewritten("preprocessor_config.json", '{"size": {"max": 3}}'), {}, "is not as the library writes it"),
    (_configured(model_type="bert"), {}, "family 'bert'.*Vision models of these can be hosted: clip"),
    (_configured(hidden_size=32), {}, "weights do not fit their config"),
    (_configured(num_hidden_layers=3), {}, "do not fill the network: missing are"),
    (_configured(num_hidden_layers=1), {}, "of a larger network than its config.json says"),
    (lambda folder: (folder / "preprocessor_config.json").unlink(), {}, r"no preprocessor_config.*--size"),
    (lambda folder: None, {"take": "projected"}, "has none"),
    (lambda folder: None, {"take": "after-neck"}, "is for FastReID's"),
    (lambda folder: None, {"output": "x"}, "--output is for ONNX graphs"),
]


@pytest.mark.parametrize(("change", "given", "message"), REFUSED)
def test_what_cannot_be_hosted_is_refused(
    tmp_path: Path, change: Callable[[Path], object], given: dict[str, Any], message: str
) -> None:
    change(folder_of(tmp_path, vit()))
    with pytest.raises((BundleError, OptionError), match=message):
        take_in(tmp_path, **given)
    assert not (tmp_path / "bundle").exists()


def test_a_pooled_output_without_weights_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    folder_of(tmp_path, library.ViTForImageClassification(library.ViTConfig(**LAYERS)))
    with pytest.raises(BundleError, match=r"missing are pooler.*Add --take cls"):
        take_in(tmp_path, take="pooled")


def test_a_network_without_a_class_token_says_what_it_has(tmp_path: Path) -> None:
    folder_of(tmp_path, _convnext())
    with pytest.raises(OptionError, match="pooling of a convnext must be pooled or mean"):
        take_in(tmp_path, take="cls")


def test_code_that_a_folder_names_is_not_run(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, vit())
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    _configured(auto_map={"AutoModel": "modeling.Model"}, _attn_implementation="someone/kernels")(folder)
    assert take_in(tmp_path).encoder.manifest.dimension == 16


def test_without_the_library_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path, vit())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OptionError, match=r"pip install '\.\[transformers\]'"):
        take_in(tmp_path)
