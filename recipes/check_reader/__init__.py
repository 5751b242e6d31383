"""Reads handwritten cheque amounts: the graph transformer network of LeCun, Bottou, Bengio and Haffner (1998)."""

from recipes.check_reader.reader import CheckReader, Reading

__all__ = ["CheckReader", "Reading"]
