import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gtn_ebm import DataError, Graph, GraphFormatError, compose, free_energy, minimum_energy
from recipes.check_reader.displacement import BLANK, PLACES, spellings
from recipes.check_reader.grammar import CLASSES, DIGITS, Grammar
from recipes.check_reader.reader import BEST_PATHS, CheckReader
from recipes.check_reader.recognition import RecognitionNetwork, recognise_places, recognise_regions
from recipes.check_reader.segmentation import Segmentation
from recipes.check_reader.synthetic import SyntheticAmount
from tests.enumeration import walks
from tests.recipes.check_reader.small import CHANNELS


def free(energies: list[float]) -> float:
    """−log Σ exp(−E)"""
    return -float(np.logaddexp.reduce([-energy for energy in energies]))


def ctc_loss(places: Graph, digits: str) -> float:
    """−log of the sum over all spellings, by torch."""
    scores = -places.energies.double().view(-1, 1, len(PLACES))
    lengths = torch.tensor([len(scores)]), torch.tensor([len(digits)])
    target = torch.tensor([[int(digit) for digit in digits]])
    return torch.nn.functional.ctc_loss(scores, target, *lengths, BLANK, reduction="sum").item()


class SeesNothing(torch.nn.Module):
    """All places look alike: tells no answer of one digit from another."""

    def forward(
        self, columns: torch.Tensor, widths: list[int], segmentations: list[Segmentation]
    ) -> list[torch.Tensor]:
        return [torch.zeros(width, len(PLACES)) for width in widths]


class TestReading:
    def test_is_the_best_answer_of_both_graphs_with_its_posterior(
        self, reader: CheckReader, twelve: list[SyntheticAmount]
    ) -> None:
        """Of two pieces of ink, all readings of which are written out."""
        found = reader.segment(twelve[0].image)
        of_two = found.arcs.max(axis=1) <= 2
        found = replace(found, arcs=found.arcs[of_two], boxes=found.boxes[of_two])
        assert found.arcs.tolist() == [[0, 1], [0, 2], [1, 2]]
        evidence = reader.network([found])
        (interpretation,), (places,), written = recognise_regions(evidence), recognise_places(evidence), []
        for walk in walks(interpretation):
            drawn = Graph.linear(walk.inputs, input_symbols=CLASSES)
            for meaning in walks(compose(drawn, reader.grammar.graph)):
                written.append((walk.energy + meaning.energy, "".join(map(DIGITS.name, meaning.outputs))))
        written.sort()
        assert len({answer for _, answer in written}) == 110  # of one digit or of two
        compared = list(dict.fromkeys(answer for _, answer in written[:BEST_PATHS]))
        assert len(compared) > 5
        energies = np.array(
            [
                free([energy for energy, meant in written if meant == answer]) + ctc_loss(places, answer)
                for answer in compared
            ]
        )
        least = np.array(
            [
                min(energy for energy, meant in written if meant == answer)
                + minimum_energy(compose(places, spellings(answer))).item()
                for answer in compared
            ]
        )
        for beta, of_answers in ((1.0, energies), (math.inf, least)):
            other = CheckReader(reader.network, reader.grammar, 0.0, beta)
            reading = other.read_segmentations([found])[0]
            assert reading.digits == compared[int(of_answers.argmin())]
            assert reading.energy == pytest.approx(of_answers.min(), abs=1e-4)
            weights = np.exp(of_answers.min() - of_answers)
            assert reading.confidence == pytest.approx(1 / weights.sum(), abs=1e-5)

    def test_does_not_depend_on_the_batch(self, reader: CheckReader, twelve: list[SyntheticAmount]) -> None:
        images = [amount.image for amount in twelve]
        for one, reading in zip(map(reader.read, images), reader.read_all(iter(images), 5), strict=True):
            assert one.digits == reading.digits
            assert one.energy == pytest.approx(reading.energy, abs=1e-3)
            assert one.confidence == pytest.approx(reading.confidence, rel=1e-2)

    def test_is_rejected_below_the_threshold(
        self, reader: CheckReader, twelve: list[SyntheticAmount]
    ) -> None:
        confidence = reader.read(twelve[0].image).confidence
        assert 0 < confidence < 1
        for threshold, accepted in ((confidence, True), (math.nextafter(confidence, 1), False)):
            reading = CheckReader(reader.network, reader.grammar, threshold).read(twelve[0].image)
            assert reading.accepted == accepted
            assert str(reading) == (reading.digits if accepted else "REJECT")

    def test_without_a_path_is_rejected(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        length = 300  # more digits than any image has regions
        arcs = "".join(f"{k} {k + 1} 1 1\n" for k in range(length))
        (tmp_path / "grammar.txt").write_text(f"{arcs}{length}\n")
        demanding = CheckReader(reader.network, Grammar.read(tmp_path / "grammar.txt"), threshold=0.0)
        reading = demanding.read(twelve[0].image)
        assert (reading.digits, reading.energy, reading.confidence) == ("", math.inf, 0.0)
        assert str(reading) == "REJECT"
        assert reading.amount.arcs == 0

    def test_segmentation_graph_has_the_free_energies_of_the_classes(
        self, reader: CheckReader, twelve: list[SyntheticAmount]
    ) -> None:
        reading = reader.read(twelve[1].image)
        graph = reading.segmentation_graph
        assert graph.arcs == len(reading.segmentation.arcs)
        assert graph.attributes["region"].tolist() == list(range(graph.arcs))
        torch.testing.assert_close(free_energy(graph), free_energy(reading.interpretation))

    def test_confidence_tells_nearly_sure_answers_apart(
        self, model: Path, twelve: list[SyntheticAmount]
    ) -> None:
        """1 − 1e-8 is less than 1 − 1e-9, and float32 has neither."""
        reader = CheckReader.load(model)
        found = reader.segment(twelve[0].image)
        of_one = found.arcs.max(axis=1) <= 1
        found = replace(found, arcs=found.arcs[of_one], boxes=found.boxes[of_one])
        reader.network.displacement = SeesNothing()
        torch.nn.init.zeros_(reader.network.energies.weight)
        bias = torch.nn.init.constant_(reader.network.energies.bias, 50.0)
        doubts = []
        for lead in (18.0, 20.0):
            bias.data[CLASSES.label("7")] = 50.0 - lead
            doubts.append(1 - reader.read_segmentations([found])[0].confidence)
        np.testing.assert_allclose(doubts, 9 * np.exp([-18.0, -20.0]), rtol=1e-4)


class TestSavedModel:
    def test_reads_as_the_one_that_was_saved(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        state = torch.random.get_rng_state()
        CheckReader(reader.network, reader.grammar, 0.25).save(tmp_path / "deep" / "model")
        loaded = CheckReader.load(tmp_path / "deep" / "model")
        assert torch.equal(torch.random.get_rng_state(), state), "loading draws random numbers"
        assert loaded.threshold == 0.25
        assert loaded.network.channels == CHANNELS
        assert loaded.grammar.text == reader.grammar.text
        for amount in twelve[:4]:
            one, other = reader.read(amount.image), loaded.read(amount.image)
            assert (one.digits, one.energy, one.confidence) == (other.digits, other.energy, other.confidence)

    def test_keeps_another_grammar(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        (tmp_path / "mine.txt").write_text("0 0 ~ <eps>\n0 1 7 7\n1 1 ~ <eps>\n1\n")
        CheckReader(reader.network, Grammar.read(tmp_path / "mine.txt"), 0.0).save(tmp_path / "model")
        assert CheckReader.load(tmp_path / "model").read(twelve[0].image).digits == "7"

    def test_is_written_whole(self, reader: CheckReader, tmp_path: Path) -> None:
        reader.save(tmp_path)
        reader.save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {
            "model.safetensors",
            "model.json",
            "grammar.txt",
        }

    @pytest.mark.parametrize("name", ["model.json", "model.safetensors", "grammar.txt"])
    @pytest.mark.parametrize("kept", [None, 0.0, 0.5, 0.98])
    def test_without_a_whole_file_is_refused(
        self, model: Path, tmp_path: Path, name: str, kept: float | None
    ) -> None:
        folder = shutil.copytree(model, tmp_path / "model")
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if kept is not None:
            # Cut within the last line: a grammar that only lacks its last lines is a grammar.
            end = content.rindex(b" <eps>") if name == "grammar.txt" and kept else int(kept * len(content))
            (folder / name).write_bytes(content[:end])
        assert_refused(folder, name)

    def test_that_is_no_folder_is_refused(self, model: Path, tmp_path: Path) -> None:
        assert_refused(tmp_path / "absent", "no such file.*trained model")
        assert_refused(model / "model.json", "model.json")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format": "another model"}, "format"),
            ({"format": None}, "format"),
            ({"classes": ["0", "1"]}, "classes"),
            ({"classes": 21}, "classes"),
            ({"classes": list(reversed(list(CLASSES)))}, "classes"),
            ({"channels": None}, "channels"),
            ({"channels": 24}, "channels"),
            ({"channels": [4, 6]}, "channels"),
            ({"channels": [4, 6, "8"]}, "channels"),
            ({"channels": [4, 6, 8.0]}, "channels"),
            ({"channels": [4, 6, True]}, "channels"),
            ({"channels": [4, 6, 0]}, "channels"),
            ({"channels": [4, 6, -8]}, "channels"),
            ({"channels": [4, 6, 10**12]}, "channels"),
            ({"channels": [4, 6, 9]}, "safetensors"),
            ({"channels": [1024, 1024, 1024]}, "safetensors"),
            ({"beta": 0}, "beta"),
            ({"beta": "1"}, "beta"),
            ({"beta": math.inf}, "beta"),
            ({"threshold": None}, "threshold"),
            ({"threshold": "0.5"}, "threshold"),
            ({"threshold": True}, "threshold"),
            ({"threshold": math.nan}, "threshold"),
            ({"threshold": math.inf}, "threshold"),
            ({"threshold": -0.1}, "threshold"),
            ({"threshold": 1.5}, "threshold"),
            ({"threshold": 10**400}, "threshold"),
        ],
    )
    def test_with_wrong_description_is_refused(
        self, model: Path, tmp_path: Path, changes: dict, message: str
    ) -> None:
        folder = shutil.copytree(model, tmp_path / "model")
        path = folder / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        assert_refused(folder, message)

    @pytest.mark.parametrize("text", ["[]", "7", "null", "[" * 100_000, '{"format": ', "\0", "9" * 10_000])
    def test_with_no_description_is_refused(self, model: Path, tmp_path: Path, text: str) -> None:
        folder = shutil.copytree(model, tmp_path / "model")
        (folder / "model.json").write_text(text)
        assert_refused(folder, r"model\.json")

    def test_with_foreign_weights_is_refused(self, model: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(model, tmp_path / "model")
        path = folder / "model.safetensors"
        weights = load_file(model / "model.safetensors")
        first = next(iter(weights))
        for foreign in (
            {},
            {"weight": torch.zeros(3)},
            {**weights, "more": torch.zeros(1)},
            {name: weight for name, weight in weights.items() if name != first},
            {name: weight.double() for name, weight in weights.items()},
            {name: weight.flatten() for name, weight in weights.items()},
            {**weights, first: torch.full_like(weights[first], math.nan)},
            {**weights, first: torch.full_like(weights[first], math.inf)},
        ):
            save_file(foreign, path)
            assert_refused(folder, r"model\.safetensors")
        larger = CheckReader(RecognitionNetwork((5, 6, 8)), Grammar.read(), 0.0)
        larger.save(tmp_path / "larger")
        shutil.copy(tmp_path / "larger" / "model.safetensors", path)
        assert_refused(folder, "not the weights of the network")

    def test_with_weights_that_announce_more_than_they_hold_is_refused(
        self, model: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(model, tmp_path / "model")
        path = folder / "model.safetensors"
        huge = json.dumps(
            {"stem.bias": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
        ).encode()
        for content in (
            len(huge).to_bytes(8, "little") + huge,
            (2**63).to_bytes(8, "little") + huge,
            (10**12).to_bytes(8, "little"),
            b"\x80\x04pickled",
        ):
            path.write_bytes(content)
            assert_refused(folder, r"model\.safetensors")
        path.unlink()
        path.mkdir()
        assert_refused(folder, r"model\.safetensors")


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises((DataError, GraphFormatError), match=message) as raised:
        CheckReader.load(folder)
    assert "\n" not in str(raised.value)


class TestImages:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("absent.png", None, "no such file"),
            ("empty.png", b"", "empty"),
            ("text.png", b"12,345.-\n", "not an image of a format"),
            ("pickle.png", b"\x80\x04.", "not an image of a format"),
            ("cut.png", b"\x89PNG\r\n\x1a\n", "not an image of a format"),
        ],
    )
    def test_that_are_none_are_refused(
        self, reader: CheckReader, tmp_path: Path, name: str, content: bytes | None, message: str
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert_unreadable(reader, tmp_path / name, message)

    def test_that_are_folders_are_refused(self, reader: CheckReader, tmp_path: Path) -> None:
        assert_unreadable(reader, tmp_path, "is a folder")

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_without_ink_are_refused(self, reader: CheckReader, tmp_path: Path, grey: int) -> None:
        path = tmp_path / "grey.png"
        cv2.imwrite(str(path), np.full((60, 200), grey, np.uint8))
        assert_unreadable(reader, path, "no ink")

    def test_of_one_pixel_are_refused(self, reader: CheckReader, tmp_path: Path) -> None:
        path = tmp_path / "dot.png"
        cv2.imwrite(str(path), np.zeros((1, 1), np.uint8))
        assert_unreadable(reader, path, "no ink")

    def test_on_their_side_are_refused(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        path = tmp_path / "portrait.jpg"
        assert twelve[0].image.shape[1] > 2 * twelve[0].image.shape[0]
        cv2.imwrite(str(path), np.rot90(twelve[0].image))
        assert_unreadable(reader, path, "rotated")

    @pytest.mark.parametrize("shape", [(40,), (40, 200, 3), (0, 200), (40, 0)])
    def test_of_other_shapes_are_refused(self, reader: CheckReader, shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError):
            reader.read(np.zeros(shape, np.uint8))

    def test_of_other_values_are_refused(self, reader: CheckReader) -> None:
        with pytest.raises(DataError, match="uint8"):
            reader.read(np.zeros((40, 200), np.float32))  # type: ignore[arg-type]

    def test_of_any_mode_are_read(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        grey = twelve[0].image
        plain = reader.read(grey)
        colour = Image.fromarray(grey).convert("RGB")
        colour.save(tmp_path / "colour.png")
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
        Image.fromarray(grey).convert("P").save(tmp_path / "palette.gif")
        turned = colour.transpose(Image.Transpose.ROTATE_90)  # stored on its side, and says so
        exif = turned.getexif()
        exif[0x0112] = 6
        turned.save(tmp_path / "camera.png", exif=exif)
        for name in ("colour.png", "deep.png", "palette.gif", "camera.png"):
            reading = reader.read(tmp_path / name)
            assert reading.digits == plain.digits, name
            assert reading.energy == pytest.approx(plain.energy, abs=1e-3), name
            assert reader.read(str(tmp_path / name)).digits == plain.digits

    def test_of_twenty_megapixels_are_read(
        self, reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path
    ) -> None:
        image = cv2.resize(twelve[0].image, (7300, 2740), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(tmp_path / "large.jpg"), image)
        reading = reader.read(tmp_path / "large.jpg")
        assert reading.digits
        assert reading.segmentation.ink.shape[1] <= 1024


def assert_unreadable(reader: CheckReader, path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        reader.read(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
