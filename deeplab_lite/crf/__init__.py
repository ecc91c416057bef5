"""The fully connected CRF that sharpens DeepLab v1 and v2's label maps. Taught in lesson 04.

`dense` is the call; `mean_field` the ten lines that all forms share; `exact` looks at all pairs of
pixels, `lattice` filters on a permutohedral lattice in torch, `reference` calls the authors' C++
code: the same answer, up to the lattice. `guards` refuses what none of them can use.
"""

from deeplab_lite.crf.dense import dense_crf
from deeplab_lite.crf.guards import BACKENDS
from deeplab_lite.crf.mean_field import Trace
from deeplab_lite.crf.search import search

__all__ = ["BACKENDS", "Trace", "dense_crf", "search"]
