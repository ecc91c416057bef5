"""The block diagram of v3+: a box with its shape for every map of the network."""

import matplotlib.pyplot as plt
import pytest

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw.decoder import MAPS


def test_every_map_has_a_box_with_its_shape():
    shapes = {name: (channels, 7, 9) for channels, name in enumerate(MAPS, 1)}
    ax = draw.decoder_diagram(shapes)
    words = [text.get_text() for text in ax.texts]
    plt.close(ax.figure)
    for name, shape in shapes.items():
        assert words[words.index(name) + 1] == " × ".join(map(str, shape))
    assert len(ax.patches) == len(MAPS)


def test_a_missing_map_is_named():
    with pytest.raises(ValueError, match=r"shapes of \['deep'\]: expected those of image, low"):
        draw.decoder_diagram({name: (1, 2, 3) for name in MAPS if name != "deep"})
