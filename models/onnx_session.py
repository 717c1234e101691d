"""A graph opened in ONNX Runtime, the same way for all who run one."""

import os
import re
import textwrap

import onnxruntime as ort

from models.errors import BundleError

__all__ = ["first_line", "has_gpu", "open_session"]

_ON_CPU, _ON_GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
_CODE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (/\S+:\d+ [^)]*\) )?"
)  # its kind and its place in C++
_LONGEST = 200  # characters of a library's message that are shown
_SECOND_FILES = "session.model_external_initializers_file_folder_path"


def has_gpu() -> bool:
    """Say whether this ONNX Runtime is one that uses GPUs."""
    return _ON_GPU in ort.get_available_providers()


def open_session(
    model: bytes, threads: int, *, on_gpu: bool = False, what: str = "model"
) -> ort.InferenceSession:
    """Load a graph.

    Args:
        model: the file's bytes.
        threads: for one run; 0 for one a core.
        on_gpu: where it can.
        what: it is, for the message.

    Raises:
        BundleError: ONNX Runtime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it complains of is in its exceptions too
    # What was hashed is what runs. A graph can name a second file for its weights, which ONNX Runtime
    # would look for in the working directory; under this name there is never one.
    options.add_session_config_entry(_SECOND_FILES, os.devnull)
    try:
        return ort.InferenceSession(model, options, providers=[_ON_GPU, _ON_CPU] if on_gpu else [_ON_CPU])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise BundleError(
            f"ONNX Runtime cannot load the {what}. Export it again: with operators and an opset that ONNX "
            f"Runtime {ort.__version__} knows, and its weights inside. (It says: {first_line(error)}.)"
        ) from error


def first_line(error: Exception) -> str:
    """Return what a library's message says in its first line that says something, cut where it is long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = next((line for line in lines if not line.endswith(":")), type(error).__name__)
    return textwrap.shorten(_CODE.sub("", telling), _LONGEST, placeholder=" ...").removesuffix(".")
