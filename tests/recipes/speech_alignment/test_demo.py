import json
from pathlib import Path

from recipes.speech_alignment.formats import alignment_files


def test_a_few_sentences(demonstrated: Path) -> None:
    text = (demonstrated / "index.html").read_text()
    for number in range(2):
        assert f'src="picture{number}.png"' in text
        assert f'href="player{number}.html"' in text
        assert (demonstrated / f"picture{number}.png").stat().st_size > 10_000
        assert "data:audio/flac" in (demonstrated / f"player{number}.html").read_text()
    report = json.loads((demonstrated / "report.json").read_text())
    assert f"{report['words']['mean_ms']:.1f} ms off in the mean" in text
    assert report["words"]["mean_ms"] < 100  # eight sentences are not much to learn from
    assert len(alignment_files(demonstrated / "alignments")) == 8
