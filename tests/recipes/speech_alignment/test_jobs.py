import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.speech_alignment import __main__ as commands
from recipes.speech_alignment.corpus import Corpus
from recipes.speech_alignment.formats import alignment_files, read_alignment
from recipes.speech_alignment.jobs import Job, Source


@pytest.fixture
def job(demonstrated: Path, tmp_path: Path) -> Job:
    source = Source(model=str(demonstrated / "model"))
    return Job(source, str(demonstrated / "corpus"), str(tmp_path / "out"), ("json", "srt"), "png", True)


@pytest.fixture
def name(demonstrated: Path) -> str:
    return Corpus(demonstrated / "corpus").names[0]


def files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.*")}


class TestJob:
    def test_writes_what_is_wanted_and_once_only(self, job: Job, name: str) -> None:
        job.check()
        assert job(name) is None
        written = files(Path(job.out))
        for suffix in ("json", "srt", "png", "html"):
            assert f"{name}.{suffix}" in written
        assert job(name) is None
        assert files(Path(job.out)) == written
        (Path(job.out) / f"{name}.html").unlink()
        assert job(name) is None
        assert files(Path(job.out)).keys() == written.keys()

    def test_does_it_again_where_something_else_is_wanted(self, job: Job, name: str) -> None:
        bare = replace(job, pictures=None, player=False)
        assert bare(name) is None
        written = files(Path(job.out))
        assert f"{name}.png" not in written
        other = replace(bare, formats=("json", "vtt"))
        assert other(name) is None
        again = files(Path(job.out))
        assert f"{name}.vtt" in again
        assert again[f"{name}.json"] > written[f"{name}.json"]

    def test_does_it_again_where_it_was_not_said_how_much_is_flagged(self, job: Job, name: str) -> None:
        bare = replace(job, pictures=None, player=False)
        assert bare(name) is None
        flagged = bare.flagged(name)
        mark = Path(job.out) / f".done/{name}.sha256"
        mark.write_text(mark.read_text().partition("\n")[0])  # as it once was
        assert bare(name) is None
        assert bare.flagged(name) == flagged

    def test_leaves_no_former_result_of_what_is_wrong_now(
        self, job: Job, name: str, demonstrated: Path, tmp_path: Path
    ) -> None:
        copytree(demonstrated / "corpus", tmp_path / "corpus")
        bare = replace(job, corpus=str(tmp_path / "corpus"), pictures=None, player=False)
        assert bare(name) is None
        assert (Path(job.out) / f"{name}.json").exists()
        (tmp_path / "corpus" / f"{name}.wav").write_bytes(b"")
        assert "the file is empty" in str(bare(name))
        assert not list(Path(job.out).rglob(f"{Path(name).name}.*"))

    def test_says_at_once_where_there_can_be_no_folder(self, job: Job, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="cannot be made a folder"):
            replace(job, out=str(tmp_path / "file" / "out")).check()

    @pytest.mark.parametrize("file", ["lexicon.txt", "model.json", "model.safetensors"])
    def test_does_it_again_with_another_model(
        self, job: Job, name: str, demonstrated: Path, tmp_path: Path, file: str
    ) -> None:
        model = tmp_path / "model"
        copytree(demonstrated / "model", model)
        bare = replace(job, source=Source(model=str(model)), pictures=None, player=False)
        assert bare(name) is None
        written = files(Path(job.out))
        assert bare(name) is None
        assert files(Path(job.out)) == written
        (model / file).touch()
        assert bare(name) is None
        assert files(Path(job.out)) != written

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"formats": ("pdf",)}, "no format 'pdf'"),
            ({"pictures": "gif"}, "png or svg, not 'gif'"),
            ({"source": Source()}, "give one of --model, --pretrained and --emissions"),
            ({"source": Source(model="a", network="b")}, "give one of"),
            ({"source": Source(scores="a")}, "needs --tokens"),
            ({"source": Source(model="/nowhere")}, "nowhere"),
            ({"source": Source(scores="/nowhere", tokens="a")}, "no such folder of matrices"),
            ({"source": Source(scores=".", tokens="/nowhere")}, "no such file of tokens"),
        ],
    )
    def test_refused_before_any_work(self, job: Job, changes: dict[str, object], said: str) -> None:
        with pytest.raises(DataError, match=said):
            replace(job, **changes).check()  # type: ignore[arg-type]


def test_matrices_of_scores(job: Job, name: str, tmp_path: Path) -> None:
    tokens = ["-", *"abcdefghijklmnopqrstuvwxyz"]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens))
    scores = Path(tmp_path / f"{name}.npy")
    scores.parent.mkdir()
    np.save(scores, np.random.default_rng(0).normal(size=(300, len(tokens))))
    source = Source(scores=str(tmp_path), tokens=str(tmp_path / "tokens.txt"))
    of_scores = replace(job, source=source, pictures=None, player=False)
    of_scores.check()
    assert of_scores(name) is None
    found = json.loads((Path(job.out) / f"{name}.json").read_text())
    text = Corpus(Path(job.corpus))[name].text
    assert [word["label"] for word in found["words"]] == [word.strip(".,?!") for word in text.split()]
    other = Corpus(Path(job.corpus)).names[1]
    assert f"{other}.npy" in str(of_scores(other))


@pytest.mark.slow  # a cluster takes half a minute to start on a busy machine
def test_the_same_command_on_a_cluster(demonstrated: Path, tmp_path: Path) -> None:
    corpus = [
        "--corpus",
        str(demonstrated / "corpus"),
        "--model",
        str(demonstrated / "model"),
        "--format",
        "json",
    ]
    for out, more in (("here", []), ("there", ["--cluster", "local"])):
        with pytest.raises(SystemExit) as ended:
            commands.main(["align", *corpus, "--out", str(tmp_path / out), *more])
        assert not ended.value.code
    here, there = alignment_files(tmp_path / "here"), alignment_files(tmp_path / "there")
    assert len(here) == 8
    assert {name: read_alignment(path) for name, path in here.items()} == {
        name: read_alignment(path) for name, path in there.items()
    }
