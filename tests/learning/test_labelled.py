from __future__ import annotations

import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from acesim.learning import labelled
from acesim.scenario.errors import ScenarioError


def read(path, held_out=None, **arrays):
    np.savez(path / "x.npz", **arrays)
    return labelled.read(SimpleNamespace(source=None, files=str(path / "x.npz"), held_out=held_out))


RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 4, 3)), np.arange(12) % 3


def test_images_get_a_channel_and_rows_do_not(tmp_path):
    assert read(tmp_path, 0.5, X=X, y=Y).shape == (4, 3, 1)
    assert read(tmp_path, 0.5, X=X.reshape(12, 12), y=Y).shape == (12,)
    assert read(tmp_path, 0.5, X=X[..., None].repeat(3, 3), y=Y).shape == (4, 3, 3)


def test_classes_are_numbered_in_order_whatever_they_are_called(tmp_path):
    found = read(tmp_path, X=X, y=np.array(["c", "a", "b"])[Y], X_test=X[:2], y_test=np.array(["b", "c"]))
    assert found.classes == 3
    assert found.training.labels[:3].tolist() == [2, 0, 1]
    assert found.held_out.labels.tolist() == [1, 2]
    assert np.array_equal(found.held_out.inputs, X[:2].reshape(2, 12))


def test_a_fixed_share_of_every_class_is_held_out(tmp_path):
    found = read(tmp_path, 0.5, X=X, y=Y)
    assert np.bincount(found.held_out.labels).tolist() == [2, 2, 2]
    assert np.bincount(found.training.labels).tolist() == [2, 2, 2]
    assert np.array_equal(found.held_out.inputs, X[[3, 4, 5, 9, 10, 11]].reshape(6, 12))
    again = read(tmp_path, 0.5, X=X, y=Y)
    assert np.array_equal(found.training.inputs, again.training.inputs)
    most = read(tmp_path, 0.99, X=X, y=np.array([0] * 11 + [1]))
    assert most.training.labels.tolist() == [0, 1]


def test_the_usual_share_is_a_fifth(tmp_path):
    assert np.bincount(read(tmp_path, X=RNG.random((40, 2)), y=np.arange(40) % 4).held_out.labels).tolist() == [2] * 4


def test_the_fingerprint_is_of_contents(tmp_path):
    one = read(tmp_path, 0.5, X=X, y=Y).fingerprint
    assert read(tmp_path, 0.5, X=X, y=Y).fingerprint == one
    assert read(tmp_path, 0.5, X=X + 1e-9, y=Y).fingerprint != one
    assert read(tmp_path, 0.5, X=X, y=Y[::-1]).fingerprint != one
    assert read(tmp_path, 0.5, X=X.reshape(12, 3, 4), y=Y).fingerprint != one


SPOILT = np.where(np.arange(12)[:, None, None] == 7, np.nan, X)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"y": Y}, "holds no X; wants"),
    ({"X": X}, "holds no y; wants"),
    ({"X": X, "y": Y, "X_test": X}, "holds no y_test; wants"),
    ({"X": X, "y": Y, "y_test": Y}, "holds no X_test; wants"),
    ({"X": SPOILT, "y": Y}, "X has 1 examples that are not finite, first number 7"),
    ({"X": X, "y": Y, "X_test": SPOILT, "y_test": Y}, "X_test has 1 examples that are not finite"),
    ({"X": X, "y": Y[:-1]}, r"X \(12, 4, 3\) and y \(11,\) must be \[N, features\]"),
    ({"X": X[0, 0], "y": Y[:3]}, r"X \(3,\) and y \(3,\) must be"),
    ({"X": X, "y": Y[:, None]}, "must be"),
    ({"X": X[:0], "y": Y[:0]}, "N > 0"),
    ({"X": X, "y": Y * 0}, "y holds only one class; needs at least 2"),
    ({"X": X, "y": Y * 0.5}, "y holds float64; must hold classes"),
    ({"X": X + 1j, "y": Y}, "X holds complex128; must hold numbers"),
    ({"X": X * 1e307, "y": Y}, r"X reaches \S+e\+307 in its channel or feature 0; .*: scale the inputs"),
    ({"X": X.reshape(12, 12) * np.where(np.arange(12) == 4, 1e160, 1), "y": Y}, "in its channel or feature 4"),
    ({"X": X * 1e-310, "y": Y}, r"X reaches \S+e-310 in .*; must be 0, or 1e-140 to 1e\+140"),
    ({"X": X, "y": Y, "X_test": X * 1e160, "y_test": Y}, r"X_test reaches \S+e\+160"),
    ({"X": X, "y": Y, "X_test": X[:, :3], "y_test": Y}, "must agree in all but the first axis"),
    ({"X": X, "y": Y, "X_test": X, "y_test": Y + 1}, "y_test holds the class 3, which y does not"),
])
def test_what_is_wrong_with_a_file(tmp_path, arrays, message):
    with pytest.raises(ScenarioError, match=rf"task\.data\.files = .*x\.npz: .*{message}"):
        read(tmp_path, **arrays)


def test_nothing_in_a_file_is_run(tmp_path):
    with pytest.raises(ScenarioError, match=r"cannot be read as an \.npz of plain arrays: Object arrays"):
        read(tmp_path, X=X, y=np.array([{}] * 12, object))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_no_npz_at_all(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"cannot be read as an \.npz of plain arrays"):
        labelled.read(SimpleNamespace(source=None, files=str(path), held_out=None))


def header(text):
    """Return an .npy member without data whose header is this."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("member", [
    b"nonsense", b"", header("{'descr':'<f8','fortran_order':False,'shape':((("),
    header("{'descr':'<f8','fortran_order':False,'shape':(10000000000000,)}")], ids=["text", "empty", "header", "huge"])
def test_a_member_that_is_no_array(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("X.npy", member)
    with pytest.raises(ScenarioError, match=r"cannot be read as an \.npz of plain arrays: \S"):
        labelled.read(SimpleNamespace(source=None, files=str(tmp_path / "x.npz"), held_out=None))


@pytest.mark.parametrize(("flags", "method"), [(1, 0), (0, 99)], ids=["encrypted", "method"])
def test_an_archive_that_cannot_be_unpacked(tmp_path, flags, method):
    np.savez(tmp_path / "x.npz", X=X, y=Y)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    for start, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(start) + place
        content[at], content[at + 2] = flags, method
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ScenarioError, match=r"cannot be read as an \.npz of plain arrays: .*(encrypted|compression)"):
        labelled.read(SimpleNamespace(source=None, files=str(tmp_path / "x.npz"), held_out=None))


def test_what_is_only_scored_may_be_small_and_what_is_whole_needs_no_scaling(tmp_path):
    assert read(tmp_path, X=X, y=Y, X_test=X * 1e-310, y_test=Y).shape == (4, 3, 1)
    for whole in (np.full((12, 2), -2**63), np.full((12, 2), 2**64 - 1, np.uint64), X > 0, X.astype(np.float16)):
        assert read(tmp_path, 0.5, X=whole, y=Y).classes == 3


def test_one_array_alone_is_no_npz(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ScenarioError, match=r"cannot be read as an \.npz of plain arrays"):
        labelled.read(SimpleNamespace(source=None, files=str(tmp_path / "x.npy"), held_out=None))


def test_held_out_twice_or_not_at_all(tmp_path):
    with pytest.raises(ScenarioError, match=r"task\.data\.held_out = 0\.3: the file brings its own X_test"):
        read(tmp_path, 0.3, X=X, y=Y, X_test=X, y_test=Y)
    with pytest.raises(ScenarioError, match=r"task\.data\.held_out = 0\.2: leaves nothing to score"):
        read(tmp_path, X=X, y=Y)


def test_digits(digits):
    found = labelled.read(digits)
    assert found.shape == (8, 8, 1)
    assert found.classes == 10
    assert len(found.training.labels) + len(found.held_out.labels) == 1797


@pytest.fixture
def digits():
    pytest.importorskip("sklearn", reason="scikit-learn is an extra: pip install acesim[images]")
    return SimpleNamespace(source="digits", files=None, held_out=0.2)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(ScenarioError, match=r"task\.data\.source = digits: .* pip install acesim\[images\]"):
        labelled.read(SimpleNamespace(source="digits", files=None, held_out=0.2))
