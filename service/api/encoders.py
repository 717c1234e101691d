"""Which encoders are hosted; an operator may replace them while the server runs."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from models.bundle import find_bundle, shipped_bundles, why_no_bundle
from models.errors import BundleError
from models.faces import DetectorSpec
from service.api.problems import PROBLEM_RESPONSES
from service.api.schemas import EncoderAnswer, EncoderName, EncodersAnswer, HostRequest
from service.api.security import OperatorDep
from service.api.state import ServicesDep
from service.api.wire import accepts, body
from service.encoder import HostedEncoder
from service.errors import BundleRefusedError

__all__ = ["router"]

router = APIRouter(prefix="/v1/encoders", tags=["encoders"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=EncodersAnswer)
async def list_encoders(services: ServicesDep) -> dict[str, Any]:
    """Tell which encoders are hosted: dimension, input size, metric, fingerprint, engine, device."""
    hosted = services.encoders.all()
    return {"default": services.encoder.name, "encoders": [_describe(one) for one in hosted]}


@router.put(
    "/{name}",
    response_model=EncoderAnswer,
    responses={201: {"description": "No encoder of that name was hosted before."}},
    openapi_extra=accepts(HostRequest),
)
async def host_encoder(
    name: EncoderName,
    wanted: Annotated[HostRequest, Depends(body(HostRequest))],
    services: ServicesDep,
    response: Response,
    _: OperatorDep,
) -> dict[str, Any]:
    """Host a bundle under a name, in place of the one that has it; no request is lost while it is loaded."""
    new = all(one.name != name for one in services.encoders.all())
    folder = await services.store(lambda: _folder(wanted.bundle, services.settings.bundles_dir))
    try:
        hosted = await services.encoders.host(folder, name)
    except BundleError as error:
        raise BundleRefusedError(f"{error} Nothing was changed.") from error
    response.status_code = 201 if new else 200
    return _describe(hosted)


@router.delete("/{name}", status_code=204, response_class=Response)
async def remove_encoder(name: EncoderName, services: ServicesDep, _: OperatorDep) -> None:
    """Host an encoder no longer; what it has begun it ends."""
    services.encoders.remove(name)


def _folder(bundle: str, bundles: Path) -> Path:
    """Return the folder of a shipped bundle, or of one within the folder of the operator's bundles.

    Raises:
        BundleRefusedError: it is no name of a folder in there, or of one that holds no bundle.
    """
    if bundle in shipped_bundles():
        return find_bundle(bundle)
    place = "the folder of bundles (LOOKALIKE_BUNDLES_DIR)"
    try:
        names = [path.name for path in bundles.iterdir()] if bundles.is_dir() else []
        if bundle not in names:  # so none with a separator, and neither . nor ..
            raise BundleRefusedError(
                f"There is no bundle {bundle!r} in {place}. Its name is that of its folder in there, and not "
                "a path to it."
            )
        folder = (bundles / bundle).resolve()
        if bundles.resolve() not in folder.parents:
            raise BundleRefusedError(f"{bundle!r} is a link that leads out of {place}. Put the bundle there.")
        if reason := why_no_bundle(folder):
            raise BundleRefusedError(f"{bundle!r} in {place} {reason}. Put the whole bundle there.")
    except OSError as error:
        raise BundleRefusedError(f"{bundle!r} in {place} cannot be read: {error.strerror}.") from error
    return folder


def _describe(hosted: HostedEncoder) -> dict[str, Any]:
    manifest = hosted.manifest
    return {
        "name": hosted.name,
        "description": manifest.description,
        "intended_use": manifest.intended_use,
        "licence": manifest.licence,
        "dimension": manifest.dimension,
        "input_size": {"height": manifest.input.height, "width": manifest.input.width},
        "normalize": manifest.normalize,
        "metric": manifest.metric,
        "fingerprint": manifest.fingerprint,
        "engine": hosted.engine.name,
        "device": hosted.engine.device,
        "detector": _describe_detector(manifest.detector),
        "evaluation": manifest.evaluation,
        "calibration": manifest.calibration,
    }


def _describe_detector(detector: DetectorSpec | None) -> dict[str, Any] | None:
    if detector is None:
        return None
    return {
        "kind": detector.kind,
        "input_size": {"height": detector.height, "width": detector.width},
        "score_threshold": detector.score_threshold,
        "faces": detector.faces,
    }
