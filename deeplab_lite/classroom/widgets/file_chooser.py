"""A button for a file of any size; the Playground of lesson 08 takes pictures with it.

A notebook server ends the connection at a message of 10 MiB, and the upload of ipywidgets sends a
file as one message. This one sends it in parts.
"""

from typing import Any

import anywidget
import traitlets

from deeplab_lite.classroom.widgets._twin import script, sheet


class FileChooser(anywidget.AnyWidget):
    """`file` is the bytes of the file that was chosen last; it is not saved with the notebook.

    The page refuses a file of more than `most` bytes, with a sentence.
    """

    _esm = script("file_chooser")
    _css = sheet("file_chooser")
    most = traitlets.Int(100_000_000).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)  # files so far: the page waits for the next
    file = traitlets.Bytes()

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._parts = bytearray()
        self.on_msg(self._take)

    def _take(self, widget: Any, content: dict[str, int], buffers: list[memoryview]) -> None:
        """A part of a file of `size` bytes, which begins `at` a place in it."""
        if content["at"] == 0:  # another file, though the last one may not be whole
            self._parts = bytearray()
        if content["at"] != len(self._parts):
            return
        self._parts += b"".join(buffers)
        if len(self._parts) == content["size"]:
            self.file, self._parts = bytes(self._parts), bytearray()
            self.count += 1
