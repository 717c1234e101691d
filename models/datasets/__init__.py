"""Labelled pictures on disk, checked when they are read, and the batches that metric learning needs.

`read_dataset` reads any of the field's forms (docs/datasets.md) into an `ImageSet`; `load_pixels` decodes one
that fits into memory, `Pictures` one that need not; `PKSampler` says which pictures a training step takes.
"""

from models.datasets.folders import read_folders
from models.datasets.holding import HELD_OUT, hold_out
from models.datasets.lfw import read_lfw
from models.datasets.market1501 import read_market1501
from models.datasets.omniglot import read_omniglot
from models.datasets.pairs import Pairs, read_pairs
from models.datasets.pixels import Pictures, check_pictures, load_pixels
from models.datasets.products import read_products
from models.datasets.reading import READERS, detect_form, read_dataset
from models.datasets.samples import ImageSet, Role, Sample
from models.datasets.sampling import PKSampler
from models.datasets.table import read_csv
from models.datasets.vehicleid import read_vehicleid
from models.datasets.veri776 import read_veri776

__all__ = [
    "HELD_OUT",
    "READERS",
    "ImageSet",
    "PKSampler",
    "Pairs",
    "Pictures",
    "Role",
    "Sample",
    "check_pictures",
    "detect_form",
    "hold_out",
    "load_pixels",
    "read_csv",
    "read_dataset",
    "read_folders",
    "read_lfw",
    "read_market1501",
    "read_omniglot",
    "read_pairs",
    "read_products",
    "read_vehicleid",
    "read_veri776",
]
