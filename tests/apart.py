"""Whether the labels of a picture can be read: none on another, none cut off."""

import itertools


def assert_apart(figure, renderer, texts):
    """No text of a drawn figure lies on another, but for 2 pixels of height, or beyond its edge."""
    width, height = figure.canvas.get_width_height()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text()]
    for text, box in boxes:
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
        assert apart, f"{one} and {other}"
