import importlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gtn_ebm import DataError
from recipes.speech_alignment.pretrained import Emissions, Network, align, read_emissions

TOKENS = ("-", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'")
SECONDS = 0.02
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def spoken(frames: str, sure: float = 0.9) -> Emissions:
    """Emissions that are sure of a token in each frame."""
    probabilities = torch.full((len(frames), len(TOKENS)), (1 - sure) / (len(TOKENS) - 1))
    for frame, token in enumerate(frames):
        probabilities[frame, TOKENS.index(token)] = sure
    return Emissions(-probabilities.log(), TOKENS, SECONDS)


def letters_of(word: str, chance: random.Random) -> str:
    """Each letter for a frame or two, and a blank or two behind it."""
    return "".join(letter * chance.randint(1, 2) + "-" * chance.randint(1, 2) for letter in word)


def spans(text: str, frames: str) -> list[tuple[str, int, int]]:
    words = align(spoken(frames), text, "a", len(frames) * SECONDS).words
    return [(word.label, round(word.start / SECONDS), round(word.end / SECONDS)) for word in words]


class TestAlign:
    def test_words_begin_and_end_with_their_letters(self) -> None:
        assert spans("He said,", "--HH-E-|-SA-ID--") == [("He", 2, 6), ("said", 9, 14)]

    def test_letters_are_the_phones(self) -> None:
        found = align(spoken("-HH-E|-A"), "he a", "x/y", 0.16)
        assert found.name == "x/y"
        assert found.duration == 0.16
        letters = [
            (each.label, round(each.start / SECONDS), round(each.end / SECONDS)) for each in found.phones
        ]
        assert letters == [("H", 1, 3), ("E", 4, 5), ("A", 7, 8)]
        assert [word.confidence for word in found.words] == pytest.approx([0.9, 0.9])

    def test_a_separator_may_be_missing(self) -> None:
        assert spans("he a", "HE-A") == [("he", 0, 2), ("a", 3, 4)]

    def test_the_reading_that_was_spoken(self) -> None:
        assert spans("in 1998", "IN|NI-NETEEN|NINETY|EIGHT") == [("in", 0, 2), ("1998", 3, 25)]
        assert spans("in 1998", "IN|ONE-NINE-NINE|EIGHT") == [("in", 0, 2), ("1998", 3, 22)]
        assert spans("Dr. X", "DRIVE|X") == [("Dr", 0, 5), ("X", 6, 7)]

    def test_marks_are_not_spoken_and_accents_left_out(self) -> None:
        assert spans("— Café —", "-CAFE-") == [("Café", 1, 5)]

    def test_what_is_implausible_is_flagged(self) -> None:
        long = align(spoken("A" * 200 + "|B"), "a b", "x", 4.0)
        assert [word.flags for word in long.words] == [("too long",), ()]
        unsure = align(spoken("AB|B", sure=0.08), "ab b", "x", 0.08)
        assert unsure.words[0].flags == ("low confidence",)

    @pytest.mark.parametrize(
        ("frames", "text", "found"),
        [
            ("H-E--S-A-I-D---A-LL", "he went all", ["he", "went: wrong", "all"]),
            ("H-E--S-A-I-D---A-LL", "he said quickly all", ["he", "said", "quickly: skipped", "all"]),
            ("H-E--S-A-I-D---A-LL", "he all", ["he", "*: inserted", "all"]),
            ("H-E--S-A-I-D---A-LL", "said all", ["*: inserted", "said", "all"]),
            ("H-E--S-A-I-D---A-L", "he said", ["he", "said", "*: inserted"]),
            ("H-E--H-E--A-L-L", "he all", ["he: repeated", "he", "all"]),
            ("H-E--S-A-I-D--A-L", "he слово al", ["he", "слово: unknown", "al"]),
        ],
    )
    def test_what_the_text_does_not_say_is_flagged(self, frames: str, text: str, found: list[str]) -> None:
        frames = frames.replace("LL", "L-L")
        words = align(spoken(frames), text, "x", len(frames) * SECONDS).words
        assert [f"{word.label}{': ' * bool(word.flags)}{', '.join(word.flags)}" for word in words] == found
        for word in words:
            if not word.flags:
                assert frames[round(word.start / SECONDS)] == word.label[0].upper()
                assert frames[round(word.end / SECONDS) - 1] == word.label[-1].upper()

    def test_errors_are_found_and_move_nothing_else(self) -> None:
        chance = random.Random(0)
        for _ in range(40):
            words = ["".join(chance.sample(LETTERS, chance.randint(3, 7))) for _ in range(12)]
            frames = "--".join(letters_of(word, chance) for word in words)
            place = chance.randrange(12)
            text = [
                *words[:place],
                "".join(chance.sample(LETTERS, 5)),
                *words[place + chance.randint(0, 1) :],
            ]
            right, other = (
                align(spoken(frames), " ".join(each), "x", len(frames) * SECONDS).words
                for each in (words, text)
            )
            assert not any(word.flags for word in right)
            assert other[place].flags in (("wrong",), ("skipped",))
            times = {(word.label, word.start, word.end) for word in right}
            assert sum((word.label, word.start, word.end) in times for word in other) >= 11

    def test_long_recordings(self) -> None:
        chance = random.Random(1)
        words = ["".join(chance.sample(LETTERS, 3)) for _ in range(2000)]
        frames = "".join(f"{word}{'-' * 9}" for word in words)
        text = [*words[:700], "zoo", *words[701:1200], *words[1201:]]
        found = align(spoken(frames), " ".join(text), "x", len(frames) * SECONDS).words
        assert [(word.label, word.flags) for word in found if word.flags] == [
            ("zoo", ("wrong",)),
            ("*", ("inserted",)),
        ]
        assert [round(word.start / SECONDS) for word in found] == list(range(0, 24_000, 12))

    @pytest.mark.parametrize(
        ("text", "said"),
        [("", "no word"), ("— !", "no word"), ("дом слово", "can be pronounced; is it in another script"),
         ("he said it all", "does not fit 0.08 s"), ("word " * 1000, "nobody says 1000 words in it")],
    )  # fmt: skip
    def test_refused(self, text: str, said: str) -> None:
        with pytest.raises(DataError, match=said):
            align(spoken("--HE"), text, "a", 0.08)

    def test_tokens_without_letters(self) -> None:
        with pytest.raises(DataError, match="none of the tokens is a letter"):
            align(Emissions(torch.zeros(3, 2), ("-", "|"), 0.02), "he", "a", 0.06)


class TestReadEmissions:
    @pytest.mark.parametrize("suffix", [".npy", ".pt"])
    def test_scores_of_any_scale(self, tmp_path: Path, suffix: str) -> None:
        scores = torch.randn(7, 3) * 5 + 2
        if suffix == ".npy":
            np.save(tmp_path / "a.npy", scores.numpy())
        else:
            torch.save(scores, tmp_path / "a.pt")
        (tmp_path / "tokens.txt").write_text("-\na\nb\n")
        read = read_emissions(tmp_path / f"a{suffix}", tmp_path / "tokens.txt", 0.7)
        assert read.tokens == ("-", "a", "b")
        assert read.seconds == pytest.approx(0.1)
        assert torch.allclose(read.energies.float(), -scores.log_softmax(-1), atol=1e-5)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (np.zeros((2, 4)), "4 columns for 3 tokens"),
            (np.zeros(4), "no floating matrix"),
            (np.zeros((2, 3), np.int64), "no floating matrix"),
            (np.array([[0, 0, 0], [0, -np.inf, np.nan]]), "token 2 in frame 1 is nan"),
            (np.array([[0, np.inf, 0]]), "token 1 in frame 0 is inf"),
            (np.array([[0, 0, 0], [-np.inf] * 3]), "frame 1 are −inf for all tokens"),
            (np.zeros((0, 3)), "no frames"),
            (np.array([[None]]), "cannot be read"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: Any, said: str) -> None:
        np.save(tmp_path / "a.npy", content, allow_pickle=True)
        (tmp_path / "tokens.txt").write_text("-\na\nb\n")
        with pytest.raises(DataError, match=rf"a\.npy.*{said}"):
            read_emissions(tmp_path / "a.npy", tmp_path / "tokens.txt", 0.7)

    def test_the_logarithm_of_0_is_of_what_is_impossible(self, tmp_path: Path) -> None:
        """All probabilities are 0 or 1, the blank's and the separator's among them."""
        frames = "HE|SAID|ALL".replace("LL", "L-L")
        with np.errstate(divide="ignore"):
            np.save(tmp_path / "a.npy", np.log(np.array([[t == f for t in TOKENS] for f in frames], float)))
        (tmp_path / "tokens.txt").write_text("\n".join(TOKENS))
        read = read_emissions(tmp_path / "a.npy", tmp_path / "tokens.txt", len(frames) * SECONDS)
        assert not read.energies.isnan().any()
        for text, said in (
            ("he said all", [("he", ()), ("said", ()), ("all", ())]),
            ("he went all", [("he", ()), ("went", ("wrong",)), ("all", ())]),
            ("he all", [("he", ()), ("*", ("inserted",)), ("all", ())]),
            ("he said it all", [("he", ()), ("said", ()), ("it", ("skipped",)), ("all", ())]),
        ):
            words = align(read, text, "a", len(frames) * SECONDS).words
            assert [(word.label, word.flags) for word in words] == said
            assert all(word.confidence == 1.0 for word in words if not word.flags)

    def test_a_pickle_is_not_opened(self, tmp_path: Path) -> None:
        torch.save(Path("/"), tmp_path / "a.pt")
        (tmp_path / "tokens.txt").write_text("-\n")
        with pytest.raises(DataError, match="cannot be read"):
            read_emissions(tmp_path / "a.pt", tmp_path / "tokens.txt", 0.7)


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchaudio", None)
    with pytest.raises(DataError, match=r"torchaudio does not import .*gtn-ebm\[pretrained\]"):
        Network("MMS_FA")


PARAMETERS = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 8, 8)],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 16,
    "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 4,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 1,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 16,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0,
}
"""Of the classes of the pretrained networks, with the same stride, and next to no weights."""


class TestNetwork:
    @pytest.fixture(params=["Wav2Vec2ASRBundle", "Wav2Vec2FABundle"])
    def bundle(self, request: pytest.FixtureRequest) -> Any:
        try:
            bundles = importlib.import_module("torchaudio.pipelines._wav2vec2.impl")
        except (ImportError, OSError) as error:
            pytest.skip(f"torchaudio does not import here: {error}")
        parameters = {**PARAMETERS, "aux_num_out": len(TOKENS)}
        return getattr(bundles, request.param)(
            "tiny.pth", parameters, 16_000, True, "Wav2Vec2", TOKENS[1:], ()
        )

    @pytest.fixture
    def weights(self, bundle: Any, tmp_path: Path) -> Path:
        torch.manual_seed(0)
        models = importlib.import_module("torchaudio.models")
        path = tmp_path / "tiny.pth"
        torch.save(models.wav2vec2_model(**bundle._params).state_dict(), path)
        return path

    @pytest.fixture
    def samples(self) -> Any:
        return np.random.default_rng(0).normal(size=16_000).astype(np.float32) / 10

    def test_emissions_are_those_of_the_model_itself(self, bundle: Any, weights: Path, samples: Any) -> None:
        network = Network.of_bundle(bundle, weights)
        assert (network.tokens, network.rate, network.stride) == (TOKENS, 16_000, 320)
        found = network.emissions(samples)
        model = bundle.get_model(
            dl_kwargs={"model_dir": str(weights.parent), "file_name": weights.name}
        ).eval()
        with torch.inference_mode():
            wanted = model(torch.from_numpy(samples)[None])[0][0, :, : len(TOKENS)].log_softmax(-1)
        assert torch.allclose(found.energies, -wanted, atol=1e-5)
        assert found.seconds == 0.02

    def test_long_recordings_are_heard_in_parts(
        self, bundle: Any, weights: Path, samples: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = Network.of_bundle(bundle, weights)
        whole = network.emissions(samples).energies
        monkeypatch.setattr("recipes.speech_alignment.pretrained.CHUNK", 0.4)
        monkeypatch.setattr("recipes.speech_alignment.pretrained.CONTEXT", 0.1)
        parts = network.emissions(samples).energies
        assert abs(len(parts) - len(whole)) <= 1
        assert parts.shape[1] == len(TOKENS)

    def test_aligned(self, bundle: Any, weights: Path, samples: Any) -> None:
        found = align(Network.of_bundle(bundle, weights).emissions(samples), "she had 5 suits", "a", 1.0)
        assert [word.label for word in found.words] == ["she", "had", "5", "suits"]

    def test_weights_of_something_else(self, bundle: Any, weights: Path) -> None:
        with pytest.raises(DataError, match="there is no such file"):
            Network.of_bundle(bundle, weights.with_name("none.pth"))
        for content in ({"a": torch.zeros(1)}, Path("/")):
            torch.save(content, weights)
            with pytest.raises(DataError, match=r"tiny\.pth: do not fit"):
                Network.of_bundle(bundle, weights)

    def test_unknown_network(self, bundle: Any) -> None:
        with pytest.raises(DataError, match=r"no network 'BERT'.*MMS_FA.*WAV2VEC2_ASR_BASE_960H"):
            Network("BERT")

    def test_no_weights_and_no_net(
        self, bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        bundle._path = "https://localhost:1/tiny.pth"
        with pytest.raises(DataError, match="not on disk and cannot be downloaded"):
            Network.of_bundle(bundle)
