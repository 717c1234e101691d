"""What commands load takes as little time as it can."""

import gc
import sys

import pytest

from service.cli.loading import loading


def test_nothing_is_collected_while_a_command_loads() -> None:
    collects: list[bool] = []

    def load() -> None:
        with loading():
            collects.append(gc.isenabled())
            raise ImportError

    with pytest.raises(ImportError):
        load()
    assert [*collects, gc.isenabled()] == [False, True]


def test_what_comes_with_torch_is_left_alone_by_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gc.unfreeze()
    with loading():  # torch is there
        assert "torch" in sys.modules
    assert gc.get_freeze_count() == 0
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        with loading():
            assert not gc.isenabled()
    assert gc.get_freeze_count() > 10_000
