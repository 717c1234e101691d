"""What a bundle made of somebody else's encoder states about itself."""

from models.importing.options import ImportOptions
from models.importing.preparation import Preparation
from models.manifest import Architecture, EncoderSpec, InputSpec, OnnxGraph, make_record

__all__ = ["spec_of"]


def spec_of(
    options: ImportOptions,
    prepared: Preparation,
    input_spec: InputSpec,
    network: Architecture | OnnxGraph,
    *,
    dimension: int,
    source: str,
) -> EncoderSpec:
    """Return the spec of an imported encoder.

    Args:
        options: a person's.
        prepared: how pictures are prepared, put together.
        input_spec: the same, of the bundle.
        network: what computes its embeddings.
        dimension: D.
        source: what it was made of, after "Imported from", where the options describe nothing.
    """
    return make_record(
        EncoderSpec,
        name=options.name,
        description=options.description or f"Imported from {source}.",
        intended_use=options.intended_use,
        licence=options.licence,
        architecture=network if isinstance(network, Architecture) else None,
        onnx=network if isinstance(network, OnnxGraph) else None,
        input=input_spec,
        dimension=dimension,
        normalize=prepared.normalize,
        metric=prepared.metric or "cosine",
    )
