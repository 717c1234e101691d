"""Vision backbones of the `transformers` library, an optional extra: imported when one is built."""

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import OptionError

__all__ = ["FAMILIES", "LoadedBackbone", "TransformersVision", "plain_config"]

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


_WITH_REGISTERS = ("dinov2_with_registers", "dinov3_vit")
# Tokens before those of the patches: of the class, of a distillation; registers come behind these.
_SPECIAL_TOKENS = {
    "clip_vision_model": 1,
    "deit": 2,
    "dinov2": 1,
    "dinov2_with_registers": 1,
    "dinov3_vit": 1,
    "vit": 1,
}


class LoadedBackbone(NamedTuple):
    """What a public state dict did to a backbone: names that it lacks, and names that have no place."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class TransformersVision(nn.Module):
    """A vision backbone of the `transformers` library: one vector of it, and a linear layer if D differs.

    Args:
        config: the JSON of a vision configuration, as in a config.json; its `model_type` is in `FAMILIES`.
        dimension: D of the embeddings; None takes the backbone's width.
        channels: of the pictures, 3 or 1.
        pooling: the vector: "pooled" is what the library calls the pooled output; "cls" the class token of
            the last layer; "mean" the mean over the patches' tokens, or over the positions.
        projected: whether the linear layer is there whatever D is, without a bias, as CLIP's projection.

    Raises:
        OptionError: `transformers` is not installed, the configuration is none that can be built, or its
            family has no such vector.
    """

    def __init__(
        self,
        config: str,
        dimension: int | None = None,
        *,
        channels: int = 3,
        pooling: str = "pooled",
        projected: bool = False,
    ) -> None:
        super().__init__()
        values = _parse(config)
        self.pooling = _check_pooling(pooling, values["model_type"])
        self.backbone = _build(values, channels)
        self._special = _SPECIAL_TOKENS.get(values["model_type"], 0)
        if values["model_type"] in _WITH_REGISTERS:
            self._special += self.backbone.config.num_register_tokens
        if pooling != "pooled" and getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # a layer of its own, which then decides nothing
        for name, parameter in self.backbone.named_parameters():
            if name.endswith("mask_token"):  # for pre-training alone: no gradient reaches it here
                parameter.requires_grad_(False)
        width = _width(self.backbone.config)
        self.dimension = width if dimension is None else dimension
        self.embedding: nn.Module = nn.Identity()
        if projected or self.dimension != width:
            self.embedding = nn.Linear(width, self.dimension, bias=not projected)
        # Pictures of another size than the configuration's: some do it by themselves, others when told to.
        option = "interpolate_pos_encoding"
        self._options = (
            {option: True} if option in inspect.signature(self.backbone.forward).parameters else {}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, channels, H, W) pictures."""
        output = self.backbone(pixel_values=x, **self._options)
        if self.pooling == "pooled":
            vector = output.pooler_output.flatten(1)
        elif self.pooling == "cls":
            vector = output.last_hidden_state[:, 0]
        else:
            hidden = output.last_hidden_state
            grid = hidden.ndim == 4  # (B, C, H, W), else (B, tokens, C)
            vector = hidden.mean(dim=(2, 3)) if grid else hidden[:, self._special :].mean(dim=1)
        embedding: Tensor = self.embedding(vector)
        return embedding

    def load_public(self, tensors: Mapping[str, Tensor]) -> LoadedBackbone:
        """Load the backbone from a public state dict, with a head perhaps, and older names.

        Where something is missing, the backbone is left as it is.

        Raises:
            OptionError: the library cannot make these tensors fit.
        """
        with _quiet():
            try:
                model, found = type(self.backbone).from_pretrained(
                    None,
                    config=self.backbone.config,
                    state_dict=dict(tensors),
                    output_loading_info=True,
                    dtype=torch.float32,
                )
            except Exception as error:  # the library's checks raise many types
                reason = " ".join(str(error).split())[:300]
                raise OptionError(f"The weights do not fit their config.json: {reason}") from error
        places, weights = self.backbone.state_dict(), model.state_dict()
        missing = tuple(
            name
            for name in sorted(found["missing_keys"])
            if name in places and not name.endswith("mask_token")  # for pre-training alone
        )
        if not missing:
            self.backbone.load_state_dict({name: weights[name] for name in places})
        return LoadedBackbone(missing, tuple(sorted(found["unexpected_keys"])))


def plain_config(config: str) -> str:
    """Return the JSON of a vision configuration without the code and the places that it names.

    Raises:
        OptionError: it is none, or of a model type that is not in `FAMILIES`.
    """
    return json.dumps(_parse(config))


def _check_pooling(pooling: str, family: str) -> str:
    """Return the name of a vector that the family has."""
    known = ("pooled", "cls", "mean") if family in _SPECIAL_TOKENS else ("pooled", "mean")
    if pooling not in known:
        message = f"pooling of a {family} must be {' or '.join(known)}, not {pooling!r}."
        raise OptionError(message, argument="pooling")
    return pooling


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars and reports off the terminal: what they say is said by us."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


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
        message = (
            f"transformers cannot build a {family} of this config. Take the config.json that was published "
            f"with the model. (It says: {' '.join(reason).removesuffix('.')}.)"
        )
        raise OptionError(message, argument="config") from error


def _width(config: Any) -> int:
    """Return the length of the pooled output."""
    sizes = getattr(config, "hidden_sizes", None)  # one a stage
    return int(sizes[-1] if sizes else config.hidden_size)
