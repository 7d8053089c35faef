"""Data sets of folders and of series: Lamina's own, which need no other package."""

import base64
import ctypes
import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lamina
from lamina.utils import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    split_dataset,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)
from lamina.utils.datasets import image_folder, resizing
from lamina.utils.datasets.audio_folder import decode_wav, resample
from lamina.utils.datasets.resizing import INTERPOLATIONS, resize


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes; each image has one color, its number in sorted order."""
    root = tmp_path_factory.mktemp("images")
    number = 0
    for name in ("ant", "bee", "cat"):
        for folder in (root / name, root / name / "deep"):
            folder.mkdir()
            for file in ("1.png", "2.PNG"):
                pixels = np.full((6, 4, 3), number, "uint8")
                Image.fromarray(pixels).save(folder / file)
                number += 1
    (root / "bee" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    return root


def own_images(root, **kwargs):
    kwargs = {"image_size": (3, 2), "verbose": False, "format": "lamina", **kwargs}
    return image_dataset_from_directory(root, **kwargs)


def colors(data):
    return np.concatenate([x[:, 0, 0, 0] for x, _ in data]).astype(int).tolist()


def test_files_labels_and_shapes(images, capsys):
    data = own_images(images, batch_size=5, shuffle=False, verbose=True)
    assert capsys.readouterr().out == "Found 12 files belonging to 3 classes.\n"
    assert data.class_names == ["ant", "bee", "cat"]
    assert data.file_paths[2] == str(images / "ant" / "deep" / "1.png")
    batches = list(data)
    assert [x.shape for x, _ in batches] == [(5, 3, 2, 3), (5, 3, 2, 3), (2, 3, 2, 3)]
    assert {(x.dtype.name, y.dtype.name) for x, y in batches} == {("float32", "int32")}
    assert colors(data) == list(range(12))
    labels = np.concatenate([y for _, y in batches])
    assert labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert (len(data), data[2][1].tolist()) == (3, [2, 2])
    with pytest.raises(IndexError):
        data[3]


def test_label_modes_and_given_labels(images):
    def labels(**kwargs):
        return own_images(images, shuffle=False, **kwargs)[0][1]

    one_hot = labels(label_mode="categorical")
    np.testing.assert_array_equal(
        one_hot, np.eye(3, dtype="f4")[np.repeat(range(3), 4)]
    )
    binary = labels(label_mode="binary", class_names=["cat", "ant"])
    assert binary.dtype == "float32"
    assert binary.tolist() == [[0.0]] * 4 + [[1.0]] * 4
    given = own_images(images, labels=[7, 5] * 6, shuffle=False)
    assert given.class_names == ["5", "7"]
    assert given[0][1].tolist() == [7, 5] * 6
    alone = own_images(images, labels=None, batch_size=None)
    assert (alone.class_names, len(alone), alone[0].shape) == (None, 12, (3, 2, 3))


def test_shuffling_is_that_of_keras(images):
    # Keras shuffles the sorted files with NumPy's `RandomState(seed)`.
    order = np.arange(12)
    np.random.RandomState(6).shuffle(order)
    everything = own_images(images, shuffle=False).file_paths
    data = own_images(images, seed=6)
    assert data.file_paths == [everything[i] for i in order]
    passes = [colors(data) for _ in range(3)]
    assert all(sorted(found) == list(range(12)) for found in passes)
    assert passes[0] != passes[1] != passes[2]
    again = own_images(images, seed=6)
    assert [colors(again) for _ in range(3)] == passes
    # An iterator keeps its order when another one begins.
    first, second = iter(again), iter(again)
    assert sorted(colors(first)) == sorted(colors(second))


def test_validation_split(images, capsys):
    cut = {"validation_split": 0.3, "seed": 1}
    train, test = own_images(images, subset="both", verbose=True, **cut)
    assert "Using 9 files for training.\nUsing 3 files" in capsys.readouterr().out
    everything = own_images(images, seed=1).file_paths
    assert train.file_paths + test.file_paths == everything
    assert own_images(images, subset="training", **cut).file_paths == everything[:9]
    assert own_images(images, subset="validation", **cut).file_paths == everything[9:]
    assert colors(test) == colors(test)


def test_image_options(images, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype="uint8")
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")

    def only(**kwargs):
        return own_images(tmp_path, labels=None, batch_size=None, **kwargs)[0]

    np.testing.assert_array_equal(only(image_size=(6, 4)), pixels[:, :, :3])
    rgba = only(image_size=(6, 4), color_mode="rgba", data_format="channels_first")
    np.testing.assert_array_equal(rgba, pixels.transpose(2, 0, 1))
    assert only(color_mode="grayscale", image_size=5).shape == (5, 5, 1)
    cropped = only(image_size=(4, 4), crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(cropped, pixels[1:5, :, :3])
    padded = only(image_size=(6, 6), pad_to_aspect_ratio=True)
    np.testing.assert_array_equal(padded[:, 1:5], pixels[:, :, :3])
    assert not padded[:, [0, 5]].any()
    deep = np.full((2, 2), 0x1234, "uint16")
    Image.fromarray(deep).save(tmp_path / "a" / "1.png")
    assert only(image_size=2, color_mode="grayscale")[0, 0, 0] == 0x12
    (tmp_path / "a" / "1.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot identify") as caught:
        only()
    assert "1.png" in caught.value.__notes__[0]


@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_resizing(method):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 2), dtype="uint8")
    flat = np.full((7, 5, 1), 9, "uint8")
    for size in ((7, 5), (3, 9), (14, 10), (1, 1)):
        np.testing.assert_allclose(resize(flat, size, method), 9, rtol=1e-6)
        turned = resize(image[::-1, ::-1], size, method)[::-1, ::-1]
        if method != "nearest":  # which rounds down
            np.testing.assert_allclose(resize(image, size, method), turned, atol=1e-3)
    if method == "area":
        halves = resize(image[:6, :4], (3, 2), "area")
        means = image[:6, :4].reshape(3, 2, 2, 2, 2).mean((1, 3))
        np.testing.assert_allclose(halves, means, rtol=1e-6)
    elif method in ("bilinear", "bicubic", "lanczos3", "lanczos5"):
        # An odd shrinkage meets the pixels' centres, where these kernels are 1.
        np.testing.assert_allclose(resize(image[:3, :3], (1, 1), method)[0, 0],
                                   image[1, 1], atol=1e-3)  # fmt: skip


@pytest.mark.parametrize("level", [None, 3, 4])
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_compiled_resizing_has_the_same_bits(method, level, monkeypatch):
    best = resizing.library()
    if best is None or (level and level > best.lamina_level()):
        pytest.skip("no such library, or none that this machine runs")
    name = Path(best._name).name.replace(f"-v{best.lamina_level()}", "")
    path = Path(best._name).with_name(name)
    if level:
        path = path.with_stem(f"{path.stem}-v{level}")
    random = np.random.default_rng(0)
    cases = [
        (random.integers(0, 256, (*shape, channels), dtype="uint8"), size)
        for shape, channels in (((7, 5), 1), ((1, 1), 4), ((33, 17), 2), ((40, 3), 3))
        for size in ((3, 9), (64, 40), (1, 1))
    ]
    cases.append((cases[-1][0][::-1, ::2], (4, 4)))
    cases.append((random.integers(0, 256, (5, 4, 6), dtype="uint8"), (3, 7)))
    monkeypatch.setattr(resizing, "library", lambda: ctypes.CDLL(str(path)))
    compiled = [resize(*case, method) for case in cases]
    monkeypatch.setattr(resizing, "library", lambda: None)
    for case, found in zip(cases, compiled, strict=True):
        assert resize(*case, method).tobytes() == found.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("color", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("alone", [False, True])
def test_jpegs_that_pillow_reads(tmp_path, mode, color, alone, monkeypatch):
    if alone:
        monkeypatch.setattr(image_folder, "_simplejpeg", lambda: None)
    random, path = np.random.default_rng(0), tmp_path / "a" / "1.JPG"
    path.parent.mkdir()
    for more in ({}, {"progressive": True}, {"quality": 100, "subsampling": 0}):
        image = Image.fromarray(random.integers(0, 256, (21, 30, 3), dtype="uint8"))
        image.convert(mode).save(path, **more)
        found = own_images(tmp_path, labels=None, color_mode=color, image_size=(21, 30))
        with Image.open(path) as picture:
            kind = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}[color]
            expected = np.asarray(picture.convert(kind)).reshape(21, 30, -1)
        assert found[0][0].shape == expected.shape
        if alone or mode == "CMYK" or color == "rgba":
            np.testing.assert_array_equal(found[0][0], expected)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match="(?i)truncated") as caught:
        found[0]
    assert "1.JPG" in caught.value.__notes__[0]


def test_jpegs_have_the_pixels_of_tensorflow(tmp_path):
    pytest.importorskip("simplejpeg")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(base64.b85decode(_JPEG))
    for color, expected in (("rgb", _COLORS), ("grayscale", _GRAYS)):
        data = own_images(tmp_path, labels=None, color_mode=color, image_size=(7, 9))
        found = data[0][0].astype("uint8")
        assert found.tobytes().hex() == expected


# 9 x 7 pixels, and what `tf.io.decode_image` of TensorFlow 2.21 makes of them.
_JPEG = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV01XKW3knDg3knMk4h;_zAQcl55)&sJ9v2`kDKRiEDJ?8BI!Zn>"
    "HbyrrEkIX6ModmpQ&KWMT47pHU`kO^PygEhLjevB4iga*CKVMXPc<zyPft%zPft%zPft%zPft%zPft%z"
    "Pft%zPft%zPft%zPft%zPft%zPft%zPft%zPf!2A01*fP2LK5J0U`hb5di}c0sq7R761VO0RR9100000"
    "00000000021OLPTAP@ln0RsaC00000000000003400I#N5+M{KF=dqh!~him0RaF2000000000000000"
    "0|fuX038tk0s#aA0000000000000010s{aMQNaYEvH#it3<CiG0ucid06zejHI^~Kr;^F;l3PXZ8&!6g"
    "9OU6a@qo@atvdezSvS>6RPQQ;4pbZ8IwL(&%f^hNk~8TVum9N"
)
_COLORS = (
    "53807bc4f1da53854a95c37bb2d59da3b98a737a504e6d3464c166608190001b148db7897ba16851"
    "6743859072969370adc4904396467683b78798b2324b38a4b69cb8b6bb413237ceb9a4484e228fca"
    "90020038b6b6dac3d1c49ca092ab8fb5ffddffcda4acad9c92afccc75d48736b5e72adb198c8beb4"
    "763e7fb066bd773469d1a5d6544b9c73516c422b3181815b453422570b4cbe5eb894437d91588f49"
    "2d817d535f846960a0a271473414a850769c2c668b374ec99096917278"
)
_GRAYS = (
    "72e16fadc4ad735d9b790fa58f5c8990b774859641aeb737bd47b205bacb9d9cefb1a0c35364adc0"
    "56864eb8575e337d372985626f3f61709c366f5453a27c"
)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"labels": "other"}, "`labels` argument should be"),
        ({"labels": [0] * 12, "class_names": ["ant"]}, "You can only pass `class_na"),
        ({"labels": None, "class_names": ["ant"]}, "`class_names` cannot be"),
        ({"labels": [0, 1]}, "to match the number of files.*2 labels for 12"),
        ({"label_mode": "other"}, "`label_mode` argument must be one of"),
        ({"label_mode": "binary"}, "there must be exactly 2 classes"),
        ({"class_names": ["ant", "dog"]}, "did not match the names"),
        ({"color_mode": "cmyk"}, "`color_mode` must be one of"),
        ({"interpolation": "sinc"}, "`interpolation` should be one of"),
        ({"image_size": (3, 0)}, "Invalid `image_size`"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"format": "torch"}, '`format` should be "lamina", "tf" or "grain"'),
        ({"validation_split": 2, "subset": "both"}, "must be between 0 and 1"),
        ({"validation_split": 0.5}, "`validation_split` must be set"),
        ({"subset": "training"}, "`validation_split` must be set"),
        ({"validation_split": 0.5, "subset": "other"}, "`subset` must be either"),
        ({"validation_split": 0.5, "subset": "both"}, "must provide a `seed`"),
        (
            {"validation_split": 0.01, "subset": "both", "seed": 1},
            "No validation images found.*leaves none",
        ),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of"),
    ],
)
def test_bad_arguments(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        own_images(images, **arguments)


def test_bad_folders(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        own_images(tmp_path / "none")
    with pytest.raises(NotADirectoryError, match="There is no folder"):
        own_images(images / "bee" / "notes.txt")
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="No images found in directory"):
        own_images(tmp_path)
    with pytest.raises(ValueError, match="No text files found in directory"):
        text_dataset_from_directory(tmp_path, verbose=False, format="lamina")


@pytest.mark.parametrize("follow", [False, True])
def test_links(images, tmp_path, follow):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(images / "ant")
    Image.new("RGB", (2, 2)).save(tmp_path / "a" / "own.png")
    data = own_images(tmp_path, follow_links=follow, shuffle=False)
    assert len(data.file_paths) == (5 if follow else 1)


def test_links_to_files_are_left_out_aloud(images, tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "a" / "own.png")
    (tmp_path / "a" / "link.png").symlink_to(images / "ant" / "1.png")
    with pytest.warns(UserWarning, match="1 link.*link.png"):
        data = own_images(tmp_path, shuffle=False)
    assert [name[-7:] for name in data.file_paths] == ["own.png"]
    assert len(own_images(tmp_path, follow_links=True).file_paths) == 2


def test_pipes_and_huge_images_are_not_read(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    Image.new("RGB", (30, 40)).save(tmp_path / "a" / "own.png")
    data = own_images(tmp_path, shuffle=False)
    assert len(data.file_paths) == 1
    monkeypatch.setattr("lamina.core.bounds.PIXELS", 1000)
    with pytest.raises(ValueError, match="30 x 40 pixels"):
        next(iter(data))


def test_texts(tmp_path):
    for name, text in (("a", "über\r\nuns"), ("b", "longer"), ("c", "")):
        (tmp_path / f"{name}.txt").write_bytes(text.encode())
    kwargs = {"labels": None, "shuffle": False, "format": "lamina", "verbose": False}
    (texts,) = text_dataset_from_directory(tmp_path, **kwargs)
    assert texts.tolist() == ["über\r\nuns", "longer", ""]
    data = text_dataset_from_directory(tmp_path, max_length=3, **kwargs)
    assert data[0].tolist() == ["übe", "lon", ""]
    single = text_dataset_from_directory(tmp_path, batch_size=None, **kwargs)
    assert list(single)[1] == "longer"


def wav(path, frames, width=2, rate=100, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)


def test_sounds(tmp_path):
    for i, length in enumerate((3, 5, 2)):
        wav(tmp_path / f"{i}.wav", b"\x00\x40" * length)

    def sounds(**kwargs):
        kwargs = {"labels": None, "shuffle": False, "verbose": False, **kwargs}
        return audio_dataset_from_directory(tmp_path, format="lamina", **kwargs)

    (batch,) = sounds()
    assert (batch.shape, batch.dtype) == ((3, 5, 1), "float32")
    assert batch[:, :, 0].sum(axis=1).tolist() == [1.5, 2.5, 1.0]
    assert [x.shape for x in sounds(batch_size=2)] == [(2, 5, 1), (1, 2, 1)]
    assert sounds(output_sequence_length=4)[0].shape == (3, 4, 1)
    assert sounds(sampling_rate=200)[0].shape == (3, 10, 1)
    resampled = sounds(sampling_rate=200)[0]  # the length counts resampled samples
    for length in (4, 13):
        got = sounds(sampling_rate=200, output_sequence_length=length)[0]
        assert got.shape == (3, length, 1)
        np.testing.assert_array_equal(got[:, :10], resampled[:, :length])
    for arguments, message in (
        ({"sampling_rate": 1.5}, "should have an integer value"),
        ({"sampling_rate": 0}, "should be higher than 0"),
        ({"ragged": True}, '`ragged=True` needs `format="tf"`'),
        ({"ragged": True, "output_sequence_length": 3}, "Cannot set both"),
    ):
        with pytest.raises(ValueError, match=message):
            sounds(**arguments)


def test_forms_of_wav(tmp_path):
    values = np.array([[0.5, -1.0], [0.25, 0.0]])
    for width in (1, 2, 3, 4):
        whole = np.round(values * 2 ** (8 * width - 1)).astype("int64")
        whole += 128 if width == 1 else 0
        data = b"".join(
            int(v).to_bytes(width, "little", signed=width > 1) for v in whole.ravel()
        )
        wav(tmp_path / "a.wav", data, width, 44100, channels=2)
        found, rate = decode_wav((tmp_path / "a.wav").read_bytes())
        assert rate == 44100
        np.testing.assert_array_equal(found, values.astype("float32"))
    head = struct.pack("<HHIIHH", 3, 2, 8000, 64000, 8, 32)
    body = values.astype("<f4").tobytes()
    chunks = b"junk\x01\x00\x00\x00x\x00fmt " + struct.pack("<I", 16) + head
    chunks += b"data" + struct.pack("<I", len(body)) + body
    made = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks
    np.testing.assert_array_equal(decode_wav(made)[0], values)
    for bad, message in (
        (b"ID3", "not a WAV file"),
        (made[:30], "damaged"),
        (made.replace(head, b"\x11\x00" + head[2:]), "format 17 with 32 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_wav(bad)


def test_resampling_keeps_a_tone():
    def tone(rate, hertz=50):
        return np.sin(2 * np.pi * hertz * np.arange(rate) / rate)[:, None]

    for wanted in (500, 800, 2000):
        found = resample(tone(1000), 1000, wanted)
        middle = slice(wanted // 4, -wanted // 4)
        np.testing.assert_allclose(found[middle], tone(wanted)[middle], atol=2e-3)
    # What the lower rate cannot hold is gone, instead of coming back as another tone.
    assert np.abs(resample(tone(1000, 450), 1000, 500)[100:-100]).max() < 0.01


def test_resampling_in_blocks(monkeypatch):
    sound = np.random.default_rng(0).normal(size=(300, 2))
    for rate, wanted in ((1000, 700), (1000, 3000), (10**9, 8)):
        whole = resample(sound, rate, wanted)
        monkeypatch.setattr("lamina.utils.datasets.audio_folder._BLOCK", 100)
        np.testing.assert_array_equal(resample(sound, rate, wanted), whole)
        monkeypatch.undo()


def test_rates_that_no_sound_has(tmp_path):
    def sounds(rate):
        path = tmp_path / "a.wav"
        wav(path, bytes(2 * 3000), rate=8000)
        data = bytearray(path.read_bytes())
        data[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(data)
        return audio_dataset_from_directory(
            tmp_path, labels=None, sampling_rate=48000, format="lamina", verbose=False
        )[0]

    assert sounds(8000).shape == (1, 18000, 1)
    for rate, words in (
        (0, "damaged: it has no samples"),
        (1, "would grow to 549.3 MiB, from 5.9"),
        (2**32 - 1, "4294967295 samples a second, which is more than"),
    ):
        with pytest.raises(ValueError, match=words):
            sounds(rate)


def test_what_a_sound_may_grow_to_follows_the_size_of_its_file(tmp_path, monkeypatch):
    """Not that of its samples, which are four times as large in memory."""
    monkeypatch.setattr("lamina.core.bounds.FLOOR", 1000)
    wav(tmp_path / "a.wav", bytes(3000), width=1, rate=8000)

    def sounds(rate):
        return audio_dataset_from_directory(
            tmp_path, labels=None, sampling_rate=rate, format="lamina", verbose=False
        )[0]

    assert sounds(32000).shape == (1, 12000, 1)
    with pytest.raises(ValueError, match="grow to 70.31 KiB, from 2.973 KiB: give a l"):
        sounds(48000)


def test_resampling_lists_no_place_twice(monkeypatch):
    """Each block lists its own turns, not those of the whole sound."""
    arange, listed = np.arange, []
    monkeypatch.setattr("lamina.utils.datasets.audio_folder._BLOCK", 1000)
    monkeypatch.setattr(
        np, "arange", lambda *x: listed.append(arange(*x)) or listed[-1]
    )
    assert resample(np.ones((9000, 1)), 1000, 2000).shape == (18000, 1)
    assert sum(map(len, listed)) < 10_000


def test_sounds_of_a_batch_have_as_many_channels(tmp_path):
    wav(tmp_path / "a.wav", bytes(8), channels=1)
    wav(tmp_path / "b.wav", bytes(8), channels=2)
    kwargs = {"labels": None, "shuffle": False, "verbose": False, "format": "lamina"}
    with pytest.raises(ValueError, match="as many channels. Received.* 1 and of 2"):
        audio_dataset_from_directory(tmp_path, **kwargs)[0]
    single = audio_dataset_from_directory(tmp_path, batch_size=None, **kwargs)
    assert [x.shape for x in single] == [(4, 1), (2, 2)]


def test_a_note_about_a_file_does_not_command_a_terminal(tmp_path):
    (tmp_path / "\x1b[31m.wav").write_bytes(b"no")
    kwargs = {"labels": None, "verbose": False, "format": "lamina"}
    with pytest.raises(ValueError, match="not a WAV file") as caught:
        audio_dataset_from_directory(tmp_path, **kwargs)[0]
    assert "\\x1b[31m.wav" in caught.value.__notes__[0]


def test_damaged_images_are_refused_in_words(tmp_path):
    Image.fromarray(np.zeros((9, 7, 3), "uint8")).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    data_set = image_dataset_from_directory(
        tmp_path, labels=None, format="lamina", verbose=False
    )
    for bad in (b"", data[:40], data.replace(b"IHDR", b"IHDX")):
        (tmp_path / "a.png").write_bytes(bad)
        with pytest.raises(ValueError, match="a.png. is not an image.*damaged"):
            data_set[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError):
        data_set[0]


def test_windows():
    data, targets = np.arange(40).reshape(20, 2), np.arange(20) * 10
    arguments = {"sequence_length": 3, "format": "lamina"}
    (batch,) = timeseries_dataset_from_array(
        data, targets, sequence_stride=4, sampling_rate=2, start_index=1, end_index=18,
        **arguments,
    )  # fmt: skip
    starts = np.array([1, 5, 9, 13])
    np.testing.assert_array_equal(batch[0], data[starts[:, None] + [0, 2, 4]])
    np.testing.assert_array_equal(batch[1], targets[starts])
    alone = timeseries_dataset_from_array(data, None, batch_size=None, **arguments)
    assert (len(alone), alone[17].shape) == (18, (3, 2))
    few = timeseries_dataset_from_array(data, targets[:4], **arguments)
    assert few[0][1].tolist() == [0, 10, 20, 30]
    shuffled = timeseries_dataset_from_array(
        data, targets, shuffle=True, seed=1, **arguments
    )
    one, two = ([y for _, y in shuffled][0].tolist() for _ in range(2))
    assert sorted(one) == sorted(two) == list(range(0, 180, 10)) and one != two
    for changed, message in (
        ({"start_index": -1}, "`start_index` must be"),
        ({"start_index": 20}, "`start_index` must be"),
        ({"end_index": 21}, "`end_index` must be"),
        ({"start_index": 5, "end_index": 5}, "`end_index` must be"),
        ({"sampling_rate": 0}, "`sampling_rate` must be"),
        ({"sequence_stride": 20}, "`sequence_stride` must be"),
        ({"sequence_length": 0}, "`sequence_length` must be"),
        ({"sequence_length": 21}, "No window fits"),
        ({"format": "other"}, "`format` should be"),
    ):
        with pytest.raises(ValueError, match=message):
            timeseries_dataset_from_array(data, None, **{**arguments, **changed})


def test_split():
    data = (np.arange(10), np.arange(20).reshape(10, 2))

    def parts(*args, **kwargs):
        return split_dataset(*args, preferred_backend="jax", **kwargs)

    left, right = parts(data, left_size=0.3)
    assert [int(x) for x, _ in left] == [0, 1, 2]
    assert [int(x) for x, _ in right] == list(range(3, 10))
    x, y = right.batch(4)[1]
    assert (x.tolist(), y.tolist()) == ([7, 8, 9], [[14, 15], [16, 17], [18, 19]])
    left, right = parts(data[0], left_size=2, right_size=0.5)
    assert ([int(x) for x in left], [int(x) for x in right]) == (
        [0, 1],
        [5, 6, 7, 8, 9],
    )
    left, right = parts(list(data), right_size=4, shuffle=True, seed=2)
    # Keras: `random.seed(2); random.shuffle(samples)`.
    assert [int(x) for x, _ in right] == [2, 8, 1, 0]
    nested, _ = parts(left, left_size=2)
    assert [int(x) for x, _ in nested] == [int(x) for x, _ in left][:2]
    for sizes, message in (
        ({}, "At least one of"),
        ({"left_size": 10}, "`left_size` should be"),
        ({"right_size": -1}, "`right_size` should be"),
        ({"left_size": 0.6, "right_size": 0.6}, "greater than 1"),
        ({"left_size": 6, "right_size": 0.6}, "should not be greater than 10"),
        ({"left_size": 0.01}, "would be empty"),
    ):
        with pytest.raises(ValueError, match=message):
            parts(data, **sizes)
    with pytest.raises(TypeError, match="Invalid `left_size` type"):
        parts(data, left_size="a")
    for bad, error in (
        ([], ValueError),
        ([1, 2], ValueError),
        ((np.zeros(2), np.zeros(3)), ValueError),
        ({"a": 1}, TypeError),
    ):
        with pytest.raises(error, match="`dataset`"):
            parts(bad, left_size=0.5)


def test_folders_train_the_same_in_threads_and_processes(images):
    weights = []
    for processes in (False, True):
        lamina.utils.set_random_seed(1)
        model = lamina.Sequential(
            [lamina.layers.Flatten(), lamina.layers.Dense(3, activation="softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        data = own_images(images, seed=1, batch_size=5)
        data.use_multiprocessing, data.workers = processes, 2
        model.fit(data, epochs=2, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize("package, format", [("tensorflow", "tf"), ("grain", "grain")])
def test_other_formats(images, package, format):
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(ImportError, match=f"needs the package `{package}`"):
            own_images(images, format=format)
        with pytest.raises(ImportError, match=f"needs the package `{package}`"):
            timeseries_dataset_from_array(np.arange(9), None, 3, format=format)
        return
    ours = own_images(images, shuffle=False, batch_size=5)
    for mine, theirs in zip(ours, own_images(images, shuffle=False, batch_size=5,
                                             format=format), strict=True):  # fmt: skip
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, np.asarray(b), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 140_000), (140_000, 1)])
def test_images_of_one_long_row_are_refused(tmp_path, shape):
    Image.fromarray(np.zeros(shape, "uint8")).save(tmp_path / "a.png")
    images = image_dataset_from_directory(tmp_path, labels=None, format="lamina")
    with pytest.raises(ValueError, match="131072 on a side"):
        next(iter(images))


@pytest.mark.parametrize("rates", [(44100, 16000), (8000, 11025), (7, 3), (3, 3000)])
def test_resampling_is_a_sum_of_sines_over_all_samples(rates):
    rate, wanted = rates
    sound = np.random.default_rng(0).normal(size=(60, 2))
    width = max(1, rate / wanted)
    found = resample(sound, rate, wanted)
    x = np.arange(len(found))[:, None] * rate / wanted - np.arange(len(sound))
    weights = (
        np.sinc(x / width) * np.cos(np.clip(x / width / 16, -1, 1) * np.pi / 2) ** 2
    )
    np.testing.assert_allclose(found, weights @ sound / width, atol=1e-6)
    assert resample(sound[:0], rate, wanted).shape == (0, 2)
