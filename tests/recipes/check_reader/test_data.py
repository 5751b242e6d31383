import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_ebm.errors import DataError
from recipes.check_reader.data import Example, load_image, read_boxes, read_digits, read_folder, split


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good examples, with boxes."""
    (tmp_path / "images").mkdir()
    for name in ("one.png", "two.png"):
        Image.new("L", (30, 10), 200).save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text("file,digits\none.png,1\ntwo.png,025\n", encoding="utf-8")
    return tmp_path


def write_labels(folder: Path, *lines: str) -> None:
    (folder / "labels.csv").write_text("\n".join(("file,digits", *lines)), encoding="utf-8")


class TestReadFolder:
    def test_examples_come_in_the_order_of_the_csv(self, folder: Path) -> None:
        images = folder / "images"
        assert read_folder(folder) == [
            Example("one.png", images / "one.png", "1"),
            Example("two.png", images / "two.png", "025"),
        ]

    def test_columns_are_found_by_name_and_a_byte_order_mark_is_no_part_of_it(self, folder: Path) -> None:
        content = b"\xef\xbb\xbfdigits,writer,file\r\n1,ann,one.png\r\n\r\n"
        (folder / "labels.csv").write_bytes(content)
        assert [(example.file, example.digits) for example in read_folder(folder)] == [("one.png", "1")]

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("one.png,12a", "line 3.*'12a'"),
            ("one.png,", "line 3.*''"),
            ("one.png, 12", "line 3.*' 12'"),
            ("one.png,१२", "line 3.*digits 0 to 9"),
            ("two.png,7", "line 3.*second time"),
            ("absent.png,7", r"line 3.*absent\.png"),
            ("../labels.csv,7", "line 3.*plain file name"),
            ("/etc/hostname,7", "line 3.*plain file name"),
            ("..,7", "line 3.*plain file name"),
            ("a\\b.png,7", "line 3.*plain file name"),
            (",7", "line 3.*plain file name"),
            ("one.png", "line 3.*1 fields"),
            ("one.png,7,8", "line 3.*3 fields"),
            ('"one.png,7', "line 3.*not a csv"),
        ],
    )
    def test_bad_line(self, folder: Path, line: str, complaint: str) -> None:
        write_labels(folder, "two.png,1", line)
        with pytest.raises(DataError, match=rf"labels\.csv, {complaint}"):
            read_folder(folder)

    def test_link_out_of_the_folder(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside") / "secret.png"
        outside.write_bytes(b"secret")
        (folder / "images" / "link.png").symlink_to(outside)
        write_labels(folder, "link.png,7")
        with pytest.raises(DataError, match=r"line 2.*link out of the folder"):
            read_folder(folder)

    def test_link_within_the_folder(self, folder: Path) -> None:
        (folder / "images" / "link.png").symlink_to("one.png")
        write_labels(folder, "link.png,7")
        assert read_folder(folder)[0].digits == "7"

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "line 1: no column file and no column digits"),
            (b"file,amount\none.png,1\n", "line 1: no column digits"),
            (b"file,digits\n", "no examples"),
            (b"file,digits\none.png,1\nz\xfcrich.png,2\n", "line 3: not UTF-8"),
        ],
    )
    def test_bad_csv(self, folder: Path, content: bytes, complaint: str) -> None:
        (folder / "labels.csv").write_bytes(content)
        with pytest.raises(DataError, match=complaint):
            read_folder(folder)

    @pytest.mark.parametrize("missing", ["labels.csv", "images", ""])
    def test_missing_part(self, folder: Path, missing: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        (folder / missing).rename(tmp_path_factory.mktemp("away") / "part")
        with pytest.raises(DataError, match=missing or "no such folder"):
            read_folder(folder)


class TestReadBoxes:
    def test_boxes_of_each_image(self, folder: Path) -> None:
        entries = {"one.png": [{"digit": "1", "bbox_xywh": [2, 1, 4.5, 8]}]}
        (folder / "boxes.json").write_text(json.dumps(entries), encoding="utf-8")
        assert read_boxes(folder) == {"one.png": [(2.0, 1.0, 4.5, 8.0)]}

    def test_a_folder_without_boxes(self, folder: Path) -> None:
        assert read_boxes(folder) == {}

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ("{", "JSON"),
            ("[]", "object"),
            ('{"one.png": 3}', "list of boxes"),
            ('{"one.png": [[1, 2, 3, 4]]}', "box 0"),
            ('{"one.png": [{"bbox_xywh": [1, 2, 3]}]}', "box 0"),
            ('{"one.png": [{"bbox_xywh": [1, 2, 3, "4"]}]}', "box 0"),
            ('{"one.png": [{"bbox_xywh": [1, 2, 3, true]}]}', "box 0"),
            ('{"one.png": [{"bbox_xywh": [1, 2, 0, 4]}]}', "above 0"),
            ('{"one.png": [{"bbox_xywh": [NaN, 2, 3, 4]}]}', "no box"),
            ('{"one.png": [{"bbox_xywh": [9, 2, 3, 4]}, {"bbox_xywh": [1, 2, 3, 4]}]}', "left to right"),
        ],
    )
    def test_bad_boxes(self, folder: Path, content: str, complaint: str) -> None:
        (folder / "boxes.json").write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=rf"boxes\.json.*{complaint}"):
            read_boxes(folder)


class TestSplit:
    def examples(self, count: int) -> list[Example]:
        return [Example(f"{number}.png", Path(f"{number}.png"), "1") for number in range(count)]

    @pytest.mark.parametrize(("count", "sizes"), [(1080, (864, 108, 108)), (3, (1, 1, 1)), (25, (21, 2, 2))])
    def test_sizes(self, count: int, sizes: tuple[int, int, int]) -> None:
        parts = split(self.examples(count))
        assert (len(parts["train"]), len(parts["validation"]), len(parts["test"])) == sizes
        assert len({example.file for part in parts.values() for example in part}) == count

    def test_the_order_of_the_examples_does_not_matter(self) -> None:
        examples = self.examples(50)
        assert split(examples[::-1]) == split(examples)

    def test_the_parts_stay_the_same_in_every_version(self) -> None:
        assert [example.file for example in split(self.examples(20))["test"]] == FIXED_TEST_PART

    def test_too_few(self) -> None:
        with pytest.raises(DataError, match="at least 3"):
            split(self.examples(2))


FIXED_TEST_PART = ["4.png", "11.png"]

GRADIENT = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (20, 1))


class TestLoadImage:
    def load(self, image: Image.Image, path: Path, **options: object) -> np.ndarray:
        image.save(path, **options)
        return load_image(path)

    @pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "gif", "pgm"])
    def test_lossless_formats(self, tmp_path: Path, suffix: str) -> None:
        loaded = self.load(Image.fromarray(GRADIENT), tmp_path / f"image.{suffix}")
        assert loaded.dtype == np.uint8
        np.testing.assert_array_equal(loaded, GRADIENT)

    @pytest.mark.parametrize("suffix", ["jpg", "webp"])
    def test_lossy_formats(self, tmp_path: Path, suffix: str) -> None:
        loaded = self.load(Image.fromarray(GRADIENT), tmp_path / f"image.{suffix}", quality=95)
        np.testing.assert_allclose(loaded, GRADIENT, atol=8)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "1"])
    def test_white_is_white_in_every_mode(self, tmp_path: Path, mode: str) -> None:
        suffix = "tiff" if mode == "CMYK" else "png"
        loaded = self.load(Image.new("L", (8, 6), 255).convert(mode), tmp_path / f"image.{suffix}")
        np.testing.assert_array_equal(loaded, np.full((6, 8), 255))

    def test_transparent_parts_show_white_paper(self, tmp_path: Path) -> None:
        image = Image.new("RGBA", (3, 2), (0, 0, 0, 0))
        image.putpixel((1, 0), (0, 0, 0, 255))
        image.putpixel((2, 0), (0, 0, 0, 51))
        assert self.load(image, tmp_path / "image.png")[0].tolist() == [255, 0, 204]

    def test_transparent_colour_of_a_palette(self, tmp_path: Path) -> None:
        image = Image.new("P", (4, 3), 0)
        image.putpalette([0, 0, 0, 90, 90, 90])
        image.putpixel((1, 1), 1)
        loaded = self.load(image, tmp_path / "image.gif", transparency=0)
        assert loaded[1].tolist() == [255, 90, 255, 255]

    def test_sixteen_bits_are_scaled(self, tmp_path: Path) -> None:
        sixteen = Image.fromarray(GRADIENT.astype(np.uint16) * 257)
        for name in ("image.png", "image.tiff"):
            np.testing.assert_array_equal(self.load(sixteen, tmp_path / name), GRADIENT)

    @pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
    def test_floats_are_scaled(self, tmp_path: Path, white: float) -> None:
        floats = Image.fromarray(GRADIENT.astype(np.float32) / 255 * np.float32(white))
        np.testing.assert_array_equal(self.load(floats, tmp_path / "image.tiff"), GRADIENT)

    def test_floats_that_are_no_numbers(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="not finite"):
            self.load(Image.fromarray(np.full((4, 4), np.nan, np.float32)), tmp_path / "image.tiff")

    @pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, tmp_path: Path, orientation: int, suffix: str) -> None:
        upright = np.full((16, 24), 255, np.uint8)
        upright[:8, :8] = 0
        upright[:8, 8:16] = 100
        turned = [
            upright,
            upright[:, ::-1],
            upright[::-1, ::-1],
            upright[::-1],
            upright.T,
            np.rot90(upright),
            upright[::-1, ::-1].T,
            np.rot90(upright, -1),
        ][orientation - 1]
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"quality": 98} if suffix == "jpg" else {}
        path = tmp_path / f"image.{suffix}"
        loaded = self.load(Image.fromarray(np.ascontiguousarray(turned)), path, exif=exif, **options)
        np.testing.assert_allclose(loaded, upright, atol=12)

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_large_images_are_reduced_by_averaging_areas(self, tmp_path: Path, suffix: str) -> None:
        stripes = np.zeros((4096, 6144), np.uint8)
        stripes[:, ::2] = 200
        stripes[:, 3072:] = 250
        loaded = self.load(Image.fromarray(stripes), tmp_path / f"image.{suffix}")
        assert loaded.shape == (512, 768)
        np.testing.assert_allclose(loaded[:, :380], 100, atol=3)
        np.testing.assert_allclose(loaded[:, -380:], 250, atol=3)

    def test_very_wide_images_are_reduced(self, tmp_path: Path) -> None:
        assert self.load(Image.new("L", (8192, 100)), tmp_path / "image.png").shape == (50, 4096)

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_beyond_100_megapixels_nothing_is_decoded(self, tmp_path: Path) -> None:
        for megapixels in (110, 1000):
            header = f"P5 10000 {megapixels * 100} 255\n".encode()
            path = tmp_path / "image.pgm"
            path.write_bytes(header + b"short")
            with pytest.raises(DataError, match="100 million pixels"):
                load_image(path)

    def test_upright_amounts_only(self, tmp_path: Path) -> None:
        assert self.load(Image.new("L", (20, 40)), tmp_path / "image.png").shape == (40, 20)
        with pytest.raises(DataError, match="rotated"):
            self.load(Image.new("L", (20, 41)), tmp_path / "image.png")

    @pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "gif", "bmp", "webp"])
    def test_truncated(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (60, 90)).astype(np.uint8)
        whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
        Image.fromarray(noise).save(whole)
        for share in (0.1, 0.5, 0.8):
            cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
            with pytest.raises(DataError, match=f"{cut.name}.*save it again"):
                load_image(cut)

    def test_not_an_image(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("file,digits")
        (tmp_path / "empty.png").touch()
        (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        for name, complaint in [
            ("text.png", "not an image of a format"),
            ("empty.png", "empty"),
            ("page.eps", "not an image of a format"),
            ("absent.png", "no such file"),
            (".", "is a folder"),
        ]:
            with pytest.raises(DataError, match=complaint):
                load_image(tmp_path / name)


class TestReadDigits:
    def write(self, folder: Path, images: bytes, labels: bytes, packed: bool = True) -> None:
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"train-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)

    def images(self, count: int = 3) -> bytes:
        return struct.pack(">BBBBIII", 0, 0, 8, 3, count, 4, 4) + bytes(range(16)) * count

    def labels(self, *labels: int) -> bytes:
        return struct.pack(">BBBBI", 0, 0, 8, 1, len(labels)) + bytes(labels)

    @pytest.mark.parametrize("packed", [True, False])
    def test_idx_files(self, tmp_path: Path, packed: bool) -> None:
        self.write(tmp_path, self.images(), self.labels(5, 0, 9), packed)
        digits = read_digits(tmp_path)
        assert digits.images.dtype == digits.labels.dtype == np.uint8
        assert digits.labels.tolist() == [5, 0, 9]
        np.testing.assert_array_equal(digits.images, np.tile(np.arange(16).reshape(4, 4), (3, 1, 1)))

    def test_built_in_digits(self) -> None:
        digits = read_digits()
        assert digits.images.shape == (len(digits.labels), 8, 8)
        assert digits.images.dtype == digits.labels.dtype == np.uint8
        assert digits.images.max() == 255
        assert set(digits.labels.tolist()) == set(range(10))

    def test_damaged_idx_files(self, tmp_path: Path) -> None:
        images, labels = self.images(), self.labels(5, 0, 9)
        for bad_images, bad_labels, complaint in [
            (images[:-1], labels, "fewer than the 48 bytes"),
            (images + b"0", labels, "more than the 48 bytes"),
            (images[:7], labels, "not an idx file"),
            (b"", labels, "not an idx file"),
            (labels, labels, "not an idx file"),
            (images, self.labels(5, 0), "3 images but 2 labels"),
            (images, self.labels(5, 0, 10), "label is 10"),
            (self.images(0), self.labels(), "square"),
            (struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), labels, "cut short|fewer"),
            (struct.pack(">BBBBIII", 0, 0, 8, 3, 60000, 2**20, 2**20), labels, "cut short|fewer"),
        ]:
            for packed in (False, True):
                folder = tmp_path / str(packed)
                folder.mkdir(exist_ok=True)
                self.write(folder, bad_images, bad_labels, packed)
                with pytest.raises(DataError, match=complaint):
                    read_digits(folder)

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        self.write(tmp_path, self.images(), self.labels(5, 0, 9))
        path = tmp_path / "train-images-idx3-ubyte.gz"
        for content in (path.read_bytes()[:-12], b"no gzip", b""):
            path.write_bytes(content)
            with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz"):
                read_digits(tmp_path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: no such file"):
            read_digits(tmp_path)


@pytest.mark.data
def test_real_amounts(data_directory: Path) -> None:
    examples = read_folder(data_directory / "check_amounts")
    boxes = read_boxes(data_directory / "check_amounts")
    assert all(len(boxes[example.file]) == len(example.digits) for example in examples)
    for example in split(examples)["test"]:
        height, width = load_image(example.path).shape
        assert all(x + w <= width and y + h <= height for x, y, w, h in boxes[example.file])


@pytest.mark.data
def test_real_mnist(data_directory: Path) -> None:
    digits = read_digits(data_directory / "mnist")
    assert digits.images.shape == (60000, 28, 28)
    assert np.bincount(digits.labels).min() > 5000
