"""From recordings and their texts to the time of each word and phone."""

from recipes.speech_alignment.aligner import SpeechAligner
from recipes.speech_alignment.corpus import Corpus, Recording
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.lexicon import Lexicon

__all__ = ["Corpus", "FileAlignment", "Interval", "Lexicon", "Recording", "SpeechAligner"]
