"""From recordings and their texts to the time of each word and phone."""

from recipes.speech_alignment.intervals import FileAlignment, Interval

__all__ = ["FileAlignment", "Interval"]
