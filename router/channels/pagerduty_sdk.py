"""pdpyras, without the warning about its end of life that it gives when it is imported."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    import pdpyras

__all__ = ["pdpyras"]
