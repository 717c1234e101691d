"""What a training would load in every process of its own, for seconds: for its optimiser, and for its log."""

import gc
from contextlib import suppress
from importlib import import_module

import_module("torch._dynamo")
with suppress(ImportError):  # an extra
    import_module("torch.utils.tensorboard")

gc.freeze()  # else each process would walk through all of torch
