"""Where training and evaluation take their images from: a labelled folder, or amounts written on the spot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from gtn_ebm import DataError
from recipes.check_reader.data import Digits, Example, load_image, read_boxes, read_digits, read_folder, split
from recipes.check_reader.evaluation import Case
from recipes.check_reader.segmentation import segment
from recipes.check_reader.synthetic import Amounts
from recipes.check_reader.training import Labelled, Material

SYNTHETIC = "synthetic"
"""Stands for a folder where amounts are to be written on the spot."""

HELD_OUT_AMOUNTS = 200
"""Synthetic amounts to validate on, and as many others to test on, of digits not trained on."""

TRAINING_SEED, VALIDATION_SEED, TEST_SEED = range(3)

PARTS = ("all", "train", "validation", "test")
"""Of a folder, to evaluate on."""


def training_material(data: str, digits: str | None) -> Material:
    """What to train on.

    Args:
        data: a folder of images/ and labels.csv, or SYNTHETIC.
        digits: a folder of MNIST's training files to write amounts with; scikit-learn's digits where None.

    Raises:
        DataError: something is missing or cannot be read.
    """
    for_training, held_out = train_and_held_out(read_digits(digits))
    amounts = Amounts(for_training, TRAINING_SEED)
    if data == SYNTHETIC:
        validation = Amounts(held_out, VALIDATION_SEED)
        return Material([], amounts, [_synthetic(validation, number) for number in range(HELD_OUT_AMOUNTS)])
    parts = split(read_folder(data))
    return Material(_load(parts["train"]), amounts, _load(parts["validation"]))


def cases(data: str, part: str, digits: str | None) -> Iterator[Case]:
    """What to evaluate on: the whole of a folder, or a part of it as training splits it.

    Synthetic amounts are written with digits held out from training, whatever the part.

    Args:
        data, digits: as of ``training_material``.
        part: one of PARTS.

    Raises:
        DataError: something is missing or cannot be read; no such part.
    """
    if part not in PARTS:
        raise DataError(f"no part {part!r}; choose one of {', '.join(PARTS)}")
    if data == SYNTHETIC:
        return _synthetic_cases(digits)
    examples, boxes = read_folder(data), read_boxes(data)
    chosen = examples if part == "all" else split(examples)[part]
    return (Case(example.file, example.path, example.digits, boxes.get(example.file)) for example in chosen)


def _synthetic_cases(digits: str | None) -> Iterator[Case]:
    amounts = Amounts(train_and_held_out(read_digits(digits))[1], TEST_SEED)
    for number in range(HELD_OUT_AMOUNTS):
        amount = amounts.render(number)
        yield Case(f"synthetic {number}", amount.image, amount.digits, amount.boxes)


def train_and_held_out(digits: Digits) -> tuple[Digits, Digits]:
    """Four fifths of the digits to train on, and every fifth one, held out."""
    held_out = np.arange(len(digits.labels)) % 5 == 4
    return (
        Digits(digits.images[~held_out], digits.labels[~held_out]),
        Digits(digits.images[held_out], digits.labels[held_out]),
    )


def _synthetic(amounts: Amounts, number: int) -> Labelled:
    amount = amounts.render(number)
    return Labelled(f"synthetic {number}", amount.image, amount.digits)


def _load(examples: list[Example]) -> list[Labelled]:
    """The images with ink on them; the others are named and left out."""
    loaded = []
    for example in examples:
        image = load_image(example.path)
        try:
            segment(image)
        except DataError as error:
            tqdm.write(f"left out: {example.path}: {error}")
        else:
            loaded.append(Labelled(example.file, image, example.digits))
    if not loaded:
        raise DataError(f"none of {len(examples)} images has ink on it, {examples[0].path} among them")
    return loaded
