"""Vision backbones of the `transformers` library, an optional extra: imported when one is built."""

import importlib
import inspect
import json
from typing import Any

from torch import Tensor, nn

from models.errors import OptionError

__all__ = ["FAMILIES", "TransformersVision", "plain_config"]

# A bundle's manifest may come from anywhere, and some model types of the library fetch files or run another
# library's code; these build plain torch layers from numbers.
FAMILIES = (
    "clip_vision_model",
    "convnext",
    "convnextv2",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "siglip_vision_model",
    "swin",
    "vit",
)

# Entries of a public config.json that choose code, number formats or places, where we choose.
_OURS = ("_attn_implementation", "_name_or_path", "attn_implementation", "auto_map", "dtype", "torch_dtype")


class TransformersVision(nn.Module):
    """A vision backbone of the `transformers` library: its pooled output, and a linear layer if D differs.

    Args:
        config: the JSON of a vision configuration, as in a config.json; its `model_type` is in `FAMILIES`.
        dimension: D of the embeddings; None takes the backbone's width.
        channels: of the pictures, 3 or 1.

    Raises:
        OptionError: `transformers` is not installed, or the configuration is none that can be built.
    """

    def __init__(self, config: str, dimension: int | None = None, *, channels: int = 3) -> None:
        super().__init__()
        self.backbone = _build(_parse(config), channels)
        for name, parameter in self.backbone.named_parameters():
            if name.endswith("mask_token"):  # for pre-training alone: no gradient reaches it here
                parameter.requires_grad_(False)
        width = _width(self.backbone.config)
        self.dimension = width if dimension is None else dimension
        self.embedding = nn.Identity() if self.dimension == width else nn.Linear(width, self.dimension)
        # Pictures of another size than the configuration's: some do it by themselves, others when told to.
        option = "interpolate_pos_encoding"
        self._options = (
            {option: True} if option in inspect.signature(self.backbone.forward).parameters else {}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        pooled = self.backbone(pixel_values=x, **self._options).pooler_output
        embedding: Tensor = self.embedding(pooled.flatten(1))
        return embedding


def plain_config(config: str) -> str:
    """Return the JSON of a vision configuration without the code and the places that it names.

    Raises:
        OptionError: it is none, or of a model type that is not in `FAMILIES`.
    """
    return json.dumps(_parse(config))


def _parse(config: str) -> dict[str, Any]:
    """Return the configuration as a dictionary, its model type checked."""
    try:
        values = json.loads(config)
    except (TypeError, ValueError) as error:
        message = f"config must be the JSON of a vision configuration ({error})."
        raise OptionError(message, argument="config") from error
    family = values.get("model_type") if isinstance(values, dict) else None
    if family not in FAMILIES:
        message = f"config must have a model_type of {', '.join(FAMILIES)}; it has {family!r}."
        raise OptionError(message, argument="config")
    return {name: value for name, value in values.items() if name not in _OURS}


def _build(values: dict[str, Any], channels: int) -> Any:
    """Return the library's model."""
    try:
        library: Any = importlib.import_module("transformers")
    except ImportError as error:
        message = (
            "The network 'transformers' needs its library: in a checkout, pip install '.[transformers]'."
        )
        raise OptionError(message, argument="network") from error
    try:
        config = library.AutoConfig.for_model(**values | {"num_channels": channels})
        return library.AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # the library's checks of a configuration raise many types
        family, reason = values["model_type"], str(error).strip().splitlines()[:1]
        message = f"transformers cannot build a {family} of this config: {' '.join(reason)}."
        raise OptionError(message, argument="config") from error


def _width(config: Any) -> int:
    """Return the length of the pooled output."""
    sizes = getattr(config, "hidden_sizes", None)  # one a stage
    return int(sizes[-1] if sizes else config.hidden_size)
