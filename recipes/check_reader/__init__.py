"""Reads handwritten cheque amounts with the graph transformer network of LeCun et al. (1998)."""

from recipes.check_reader.reader import CheckReader, Reading

__all__ = ["CheckReader", "Reading"]
