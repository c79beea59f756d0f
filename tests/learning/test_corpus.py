from __future__ import annotations

import ast
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.learning import corpus
from acesim.learning.corpus import Alphabet, Document
from acesim.scenario.errors import ScenarioError

SOURCE = '''"""Module."""
def outer():
    "Outer."
    if True:
        class Inner:
            """Inner

            line.
            """
            async def method(self): "Method."
    def silent(): return "not a docstring"
try:
    def risky(): "Risky."
except OSError:
    def caught(): "Caught."
match 1:
    case 1:
        def matched(): "Matched."
'''


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A tiny standard library, and a cache of its own."""
    monkeypatch.setenv("ACESIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "ENOUGH", 10)
    folder = tmp_path / "lib"
    for name in ("b.py", "a/z.py", "test/no.py", "a/site-packages/no.py", "broken.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("def broken(:" if name == "broken.py" else f'"""I am {name}."""', "utf-8")
    return folder


def test_docstrings_in_the_order_of_the_source():
    found = list(corpus.docstrings(ast.parse(SOURCE)))
    assert found == ["Module.", "Outer.", "Inner\n\nline.", "Method.", "Risky.", "Caught.", "Matched."]


def test_a_source_with_odd_escapes_raises_no_warning():
    assert corpus.module_document("m", b'"""Text."""\nx = "\\d"').text == "Text."


def test_a_standard_library_is_read_once(library, monkeypatch):
    documents = corpus.standard_library(library)
    modules = [document for document in documents if not document.name.startswith("topics/")]
    assert modules == [Document("a/z.py", "I am a/z.py."), Document("b.py", "I am b.py.")]
    assert documents == sorted(documents)
    monkeypatch.setattr(corpus, "read_standard_library", None)
    assert corpus.standard_library(library) == documents


def test_a_changed_or_damaged_library_is_read_again(library):
    first = corpus.standard_library(library)
    (library / "b.py").write_text('"""I am another."""', "utf-8")
    second = corpus.standard_library(library)
    assert corpus.fingerprint(first) != corpus.fingerprint(second)
    for kept in corpus.cache_folder().iterdir():
        kept.write_text(kept.read_text("utf-8").replace("another", "a liar"), "utf-8")
    assert corpus.standard_library(library) == second


def test_a_cache_that_cannot_be_written_costs_only_time(library, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way", "utf-8")
    monkeypatch.setenv("ACESIM_CACHE", str(tmp_path / "file" / "below"))
    assert corpus.standard_library(library)
    monkeypatch.setattr(corpus, "cache_folder", lambda: None)
    assert corpus.standard_library(library)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.delenv("ACESIM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setenv("LOCALAPPDATA", "/somewhere")
    assert corpus.cache_folder() == Path("/somewhere/acesim")


def test_a_stripped_python_is_told_apart(library, monkeypatch):
    monkeypatch.setattr(corpus, "ENOUGH", 10_000_000)
    with pytest.raises(ScenarioError, match=r"task\.corpus\.source = python-docs: found only \d+ characters"):
        corpus.standard_library(library)


def test_files_of_all_kinds(tmp_path):
    rows = [{"author": "b", "work": "x", "text": "two"}, {"author": "a", "work": "y", "text": "one"}]
    lines = "\n".join(map(json.dumps, rows)) + "\n\n"
    (tmp_path / "c.txt").write_text("plain", "utf-8")
    (tmp_path / "d.jsonl").write_text(lines, "utf-8")
    (tmp_path / "e.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    found = [document.text for document in corpus.read_files(str(tmp_path / "*"))]
    assert found == ["plain", "one", "two", "one", "two"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.txt", b"", r"task\.corpus\.files = .*a\.txt: matches only files without text"),
    ("a.txt", b"\xff\xff", r"a\.txt: cannot be read: "),
    ("a.csv", b"x", r"a\.csv: must end in \.txt, \.jsonl or \.jsonl\.xz"),
    ("a.jsonl", b'{"text": "x"}\n[1]', r"a\.jsonl:2: needs a JSON object with the field text"),
    ("a.jsonl", b'{"txt": "x"}', r"a\.jsonl:1: needs a JSON object with the field text"),
    ("a.jsonl.xz", b"no xz", r"a\.jsonl\.xz: cannot be read: "),
    ("b.txt", None, r"a\.\*: matches no file; wants \.txt, \.jsonl or \.jsonl\.xz")])
def test_files_that_cannot_be_used(tmp_path, name, content, message):
    pattern = tmp_path / (name if content is not None else "a.*")
    (tmp_path / name).write_bytes(b"x" if content is None else content)
    with pytest.raises(ScenarioError, match=message):
        corpus.read_files(str(pattern))


def test_an_alphabet_by_count_then_symbol():
    letters = corpus.alphabet(["bbaa", "c", "é😀"], 5)
    assert letters == Alphabet("abcé")
    assert letters.encode("abcé😀z").tolist() == [0, 1, 2, 3, 4, 4]
    assert corpus.alphabet(["ab"], 10).size == 3


@given(st.text(), st.text(), st.integers(2, 30))
def test_encoding_is_defined_for_every_text(training, text, largest):
    letters = corpus.alphabet([training], largest)
    ids = letters.encode(text)
    assert len(ids) == len(text)
    assert letters.size <= largest
    for symbol, number in zip(text, ids, strict=True):
        assert number == (letters.symbols.index(symbol) if symbol in letters.symbols else letters.other)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.floats(0.02, 0.6))
def test_a_split_loses_no_character(lengths, share):
    documents = [Document(f"{i:03}", chr(97 + i % 26) * length) for i, length in enumerate(lengths)]
    parts = corpus.split(documents, share)
    assert sum(len(text) for _, text in parts.training + parts.held_out) == sum(lengths)
    if len(documents) * share >= 1:
        assert sorted(parts.training + parts.held_out) == documents
        assert abs(len(parts.held_out) - share * len(documents)) <= 1
    assert all(0 <= after <= len(parts.training) for after in parts.after)


def test_few_documents_are_held_out_by_their_ends():
    parts = corpus.split([Document("a", "0123456789")], 0.2)
    assert parts == ([Document("a", "01234567")], [Document("a", "89")], [1])


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=80), st.integers(1, 20))
def test_shards_are_contiguous_and_of_like_size(lengths, workers):
    target = sum(lengths) / workers
    if target < 40:
        return
    borders = corpus.pack(lengths, workers, 1)
    assert borders[0] == 0
    assert borders[-1] == sum(lengths)
    sizes = np.diff(borders)
    assert sizes.min() >= target / 2 - 1
    assert sizes.max() <= target * 1.5 + 1
    ends = np.cumsum([0, *lengths])
    for border in set(borders.tolist()) - set(ends.tolist()):
        inside = np.searchsorted(ends, border)
        assert lengths[inside - 1] > target / 2 - 2  # only long documents are cut


def test_too_little_text_for_so_many_workers():
    with pytest.raises(ScenarioError, match=r"task\.corpus = 100 characters of training text: too short"):
        corpus.pack([100], 9, 50)


def test_a_fingerprint_sees_text_and_order_only():
    one, two = Document("a", "x"), Document("b", "y")
    renamed = [Document("b", "x"), Document("a", "y")]
    assert corpus.fingerprint([one, two]) == corpus.fingerprint(renamed)
    assert corpus.fingerprint([one, two]) != corpus.fingerprint([two, one])
    assert corpus.fingerprint([Document("a", "xy")]) != corpus.fingerprint([one, two])
