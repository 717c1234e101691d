"""Which importer a path is for."""

from pathlib import Path

from models.errors import BundleError
from models.importing.graphs import import_onnx
from models.importing.hugging_face import import_folder
from models.importing.options import ImportOptions, ImportReport
from models.importing.state_dicts import import_state_dict

__all__ = ["import_encoder"]

_PICKLES = (b"PK", b"\x80")  # a zip archive, and a bare pickle, as torch.save writes them


def import_encoder(path: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write a bundle from an ONNX graph, a PyTorch state dict or a model folder of Hugging Face.

    A folder is the last, a .safetensors file or what torch.save wrote (whatever it is called) a state dict,
    and anything else a graph.

    Raises:
        BundleError, OptionError: as the importer of that kind says.
    """
    if path.is_dir():
        return import_folder(path, out, options)
    try:
        with path.open("rb") as file:
            begin = file.read(2)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".safetensors" or begin.startswith(_PICKLES):
        return import_state_dict(path, out, options)
    return import_onnx(path, out, options)
