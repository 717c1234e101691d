"""The small real encoder of the service's own tests, for a server of its own."""

from tests.service.conftest import bundle, picture

__all__ = ["bundle", "picture"]
