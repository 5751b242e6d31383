import json
from pathlib import Path

import pytest

from recipes.speech_alignment import demo


def test_a_few_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHOWN", 1)
    page = demo.run(tmp_path, 8)
    text = page.read_text()
    assert page == tmp_path / "index.html"
    for number in range(2):
        assert f'src="picture{number}.png"' in text
        assert f'href="player{number}.html"' in text
        assert (tmp_path / f"picture{number}.png").stat().st_size > 10_000
        assert "data:audio/flac" in (tmp_path / f"player{number}.html").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    assert f"{report['words']['mean_ms']:.1f} ms off in the mean" in text
    assert report["words"]["mean_ms"] < 100  # eight sentences are not much to learn from
    assert len(list((tmp_path / "alignments").rglob("*.TextGrid"))) == 8
