"""Joint registration and segmentation of medical images."""

__version__ = "0.1.0"
