"""Explorers of the lessons: each a module with its JavaScript beside it, loaded when first used."""

from importlib import import_module

_HOME = {
    "ASPPExplorer": "aspp_explorer",
    "ArchitectureExplorer": "architecture_explorer",
    "BoundaryMicroscope": "boundary_microscope",
    "RatesLab": "rates_lab",
    "ReceptiveFieldExplorer": "receptive_field_explorer",
    "DilationExplorer": "dilation_explorer",
    "CRFPlayground": "crf_playground",
    "FieldOnPhoto": "field_on_photo",
    "MeanFieldReplay": "mean_field_replay",
    "OutputStrideLab": "output_stride_lab",
    "Playground": "playground",
    "Quiz": "quiz",
    "SegmentationViewer": "segmentation_viewer",
}
__all__ = [
    "ASPPExplorer",
    "ArchitectureExplorer",
    "BoundaryMicroscope",
    "CRFPlayground",
    "DilationExplorer",
    "FieldOnPhoto",
    "MeanFieldReplay",
    "OutputStrideLab",
    "Playground",
    "Quiz",
    "RatesLab",
    "ReceptiveFieldExplorer",
    "SegmentationViewer",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"no widget is called {name!r}; there are {', '.join(_HOME)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
