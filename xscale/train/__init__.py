"""Training. The package can be called: ``xscale.train(scene, out=...)`` is ``train.api.train``."""

from __future__ import annotations

import sys
import types


class _CallableModule(types.ModuleType):
    """``xscale.train`` is a package and, as the published Python interface has it, a function."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        from xscale.train.api import train

        return train(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
