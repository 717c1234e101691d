"""Faces in photographs: found, aligned to the template that encoders expect, and measured."""

from models.faces.detector import MOST_FACES, Detector, Graph, kind_of, usual_score
from models.faces.finding import Face, FaceFinder, Found, open_finder
from models.faces.quality import LIMITS, Quality, measure, shortfall
from models.faces.spec import DETECTOR, DetectorSpec, FaceChoice

__all__ = [
    "DETECTOR",
    "LIMITS",
    "MOST_FACES",
    "Detector",
    "DetectorSpec",
    "Face",
    "FaceChoice",
    "FaceFinder",
    "Found",
    "Graph",
    "Quality",
    "kind_of",
    "measure",
    "open_finder",
    "shortfall",
    "usual_score",
]
