"""Encoders from elsewhere made into bundles: what their files say is read, the rest is asked for.

preparation     how pictures are prepared, put together from several sources
options         what a person says
presets         what families of public encoders expect
graphs          ONNX
recognised, fastreid, recognition    which of our networks a state dict is of
state_dicts     PyTorch
preprocessor, hugging_face           model folders of Hugging Face
choosing        which of these a path is for
"""

from models.importing.choosing import import_encoder
from models.importing.graphs import import_onnx
from models.importing.hugging_face import import_folder
from models.importing.options import TAKES, ImportOptions, ImportReport, Take
from models.importing.presets import PRESETS
from models.importing.state_dicts import import_state_dict

__all__ = [
    "PRESETS",
    "TAKES",
    "ImportOptions",
    "ImportReport",
    "Take",
    "import_encoder",
    "import_folder",
    "import_onnx",
    "import_state_dict",
]
