"""Reads lines of handwriting, whole, without cutting them into characters."""
