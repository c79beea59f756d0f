"""Text for the language-model task: from documents to symbols, and from symbols to workers' shards.

The default corpus is what every Python installation already holds: the docstrings of the standard library,
read from source, and the topics of `help()`.  It differs between versions of Python, so its fingerprint goes
into the manifest.
"""

from __future__ import annotations

import ast
import contextlib
import glob
import hashlib
import importlib
import json
import lzma
import os
import sys
import sysconfig
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from acesim.scenario.schema import Corpus as CorpusSpec

SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"})
"""Folders of the standard library that hold no documentation: tests, and what is not part of it."""

ENOUGH = 200_000
"""Characters below which the standard library is taken to be stripped of its sources."""

RULES = 1
"""Version of the rules by which documents are made; part of the cache's key."""


class Document(NamedTuple):
    """A text with the name it is sorted by."""

    name: str
    text: str


def fingerprint(documents: Iterable[Document]) -> str:
    """Return the SHA-256 of all text, in order; names do not count."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()


# ---- the docstrings of the standard library

def docstrings(node: ast.AST) -> Iterator[str]:
    """Yield the cleaned docstrings of a module and of all it defines, in the order of the source."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield text
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, part, ()):
            if hasattr(child, "body") or hasattr(child, "cases"):  # no other statement defines anything
                yield from docstrings(child)


def module_document(name: str, source: bytes) -> Document:
    """Join the docstrings of one module; a source that this Python cannot parse has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's escape sequences, for example
        try:
            tree = ast.parse(source)
        except SyntaxError:
            return Document(name, "")
    return Document(name, "\n\n".join(docstrings(tree)))


def source_files(folder: Path) -> list[Path]:
    """Return the modules under the standard library's folder, sorted."""
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if name not in SKIPPED]
        found += [Path(place, name) for name in names if name.endswith(".py")]
    return sorted(found)


def topic_documents() -> list[Document]:
    """Return the topics of `help()`, those with the same initial together; none where Python has none."""
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ModuleNotFoundError:
        return []
    groups: dict[str, list[str]] = {}
    for name in sorted(topics):
        groups.setdefault(name[0].lower(), []).append(topics[name].strip())
    return [Document(f"topics/{initial}", "\n\n".join(texts)) for initial, texts in groups.items()]


def read_standard_library(folder: Path, files: Sequence[Path]) -> list[Document]:
    """Parse every module: a few seconds for the whole library."""
    modules = [module_document(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files]
    return sorted(document for document in modules + topic_documents() if document.text)


def cache_folder() -> Path | None:
    """Return where texts are kept between runs: ACESIM_CACHE, else the user's cache folder, else nowhere."""
    named = os.environ.get("ACESIM_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "acesim"
    except RuntimeError:  # no home directory
        return None


def cache_key(folder: Path, files: Sequence[Path]) -> str:
    """Return a key that changes with the version of Python, any file, and the rules of this module."""
    stats = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
             for path in files]
    return hashlib.sha256(repr((RULES, sys.version, stats)).encode()).hexdigest()[:16]


def load_cached(path: Path) -> list[Document] | None:
    """Return the documents kept in a file, or None where there is none or it is not whole."""
    try:
        content = json.loads(path.read_text("utf-8"))
        documents = [Document(*pair) for pair in content["documents"]]
        return documents if content["fingerprint"] == fingerprint(documents) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_cached(path: Path, documents: Sequence[Document]) -> None:
    """Keep documents in a file, all or nothing; a place that cannot be written costs only time."""
    content = json.dumps({"fingerprint": fingerprint(documents), "documents": documents})
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            Path(folder, "whole").write_text(content, "utf-8")
            os.replace(Path(folder, "whole"), path)


def standard_library(folder: Path | None = None) -> list[Document]:
    """Return a document for each module of the standard library and each group of help topics, by name.

    folder   of the standard library; this Python's own if None
    raises   ScenarioError where the sources are missing (fewer than ENOUGH characters)
    """
    folder = folder or Path(sysconfig.get_paths()["stdlib"])
    files = source_files(folder)
    place = cache_folder()
    path = place / f"python-docs-{cache_key(folder, files)}.json" if place else None
    documents = load_cached(path) if path else None
    if documents is None:
        documents = read_standard_library(folder, files)
        if path:
            store_cached(path, documents)
    length = sum(len(document.text) for document in documents)
    if length < ENOUGH:
        raise ScenarioError([Problem(
            ("task", "corpus", "source"), "python-docs",
            f"found only {length} characters of docstrings under {folder}, needs {ENOUGH}: this Python came "
            "without its sources; give texts of your own, for example corpus: {files: \"texts/*.txt\"}")])
    return documents


# ---- the user's own files

def read_files(pattern: str) -> list[Document]:
    """Return the documents of all files that match a pattern, sorted by name.

    pattern   glob of .txt (a document a file), .jsonl or .jsonl.xz (a document a line: author, work, text)
    raises    ScenarioError when nothing matches or a file cannot be read as what it is
    """
    paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).is_file()]
    documents = [document for path in paths for document in read_file(path) if document.text]
    if not documents:
        rule = "matches no file" if not paths else "matches only files without text"
        rule += "; wants .txt, .jsonl or .jsonl.xz"
        raise ScenarioError([Problem(("task", "corpus", "files"), pattern, rule)])
    return sorted(documents)


def read_file(path: Path) -> list[Document]:
    """Return the documents of one file; raises ScenarioError naming file and line."""
    try:
        if path.suffix == ".txt":
            return [Document(path.as_posix(), path.read_text("utf-8"))]
        if path.suffix == ".jsonl":
            return json_documents(path, path.read_text("utf-8"))
        if path.suffixes[-2:] == [".jsonl", ".xz"]:
            return json_documents(path, lzma.decompress(path.read_bytes()).decode())
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise unusable(path, None, f"cannot be read: {error}") from error
    raise unusable(path, None, "must end in .txt, .jsonl or .jsonl.xz")


def json_documents(path: Path, content: str) -> list[Document]:
    """Return a document for each line {"author", "work", "text"}; author and work may be left out."""
    documents = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
            name = f"{path.as_posix()}/{row.get('author', '')}/{row.get('work', number)}"
            documents.append(Document(name, str(row["text"])))
        except (ValueError, KeyError, AttributeError) as error:
            raise unusable(path, number, f"needs a JSON object with the field text: {error}") from error
    return documents


def unusable(path: Path, line: int | None, rule: str) -> ScenarioError:
    """Return the error for a text file that cannot be used."""
    place = f"{path}:{line}" if line else str(path)
    return ScenarioError([Problem(("task", "corpus", "files"), place, rule)])


def read(spec: CorpusSpec) -> list[Document]:
    """Return the documents a scenario asks for, sorted by name."""
    return read_files(spec.files) if spec.files else standard_library()


# ---- symbols

class Alphabet(NamedTuple):
    """The symbols that have a number, most frequent first; all other characters share the last, `other`."""

    symbols: str

    @property
    def other(self) -> int:
        """The number of all characters that are not in the alphabet."""
        return len(self.symbols)

    @property
    def size(self) -> int:
        """V, `other` included."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> NDArray[Any]:
        """Return the number of each character, as small as numbers of this alphabet can be: texts are long.

        >>> Alphabet("ab").encode("abba?")
        array([0, 1, 1, 0, 2], dtype=uint8)
        """
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = np.full(max(map(ord, self.symbols), default=0) + 2, self.other, np.min_scalar_type(self.other))
        for number, symbol in enumerate(self.symbols):
            table[ord(symbol)] = number
        return table[np.minimum(points, len(table) - 1)]


def alphabet(texts: Iterable[str], largest: int) -> Alphabet:
    """Return the `largest` - 1 most frequent characters, by (-count, character).

    >>> alphabet(["abracadabra"], 4)
    Alphabet(symbols='abr')
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return Alphabet("".join(ranked[:largest - 1]))


# ---- held-out text and shards

class Split(NamedTuple):
    """Documents to train on and to score on; `after`: how many training documents precede each held out."""

    training: list[Document]
    held_out: list[Document]
    after: list[int]


def split(documents: Sequence[Document], share: float) -> Split:
    """Hold out whole documents, evenly spread over the sorted order, never at random.

    share   of the documents, in (0, 1).  Where that is less than one document, the last `share` of every
            document is held out instead.

    >>> split([Document(str(i), "x") for i in range(6)], 1 / 3).held_out
    [Document(name='1', text='x'), Document(name='4', text='x')]
    """
    result = Split([], [], [])
    whole = len(documents) * share >= 1
    for rank, document in enumerate(documents):
        border = round(len(document.text) * (1 - share))
        if whole:
            held = int((rank + 1) * share + 0.5) > int(rank * share + 0.5)
            border = 0 if held else len(document.text)
        if border:
            result.training.append(document._replace(text=document.text[:border]))
        if border < len(document.text):
            result.held_out.append(document._replace(text=document.text[border:]))
            result.after.append(len(result.training))
    return result


def owners(documents: NDArray[np.int64], shards: NDArray[np.int64], places: NDArray[np.int64],
           borders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the worker [N] whose own each scored window is.

    A held-out document belongs to the worker in whose shard it stood.  A worker in whose shard none stood shares the
    one nearest to the middle of its shard, and who shares a document takes its windows in turn.

    documents   [N] the held-out document each window begins in
    shards      [D] the worker in whose shard each held-out document stood
    places      [D] where it stood, in characters of the training text
    borders     [W + 1] of the shards

    >>> owners(np.array([0, 0, 0, 1]), np.array([0, 2]), np.array([5, 29]), np.array([0, 10, 20, 30])).tolist()
    [0, 1, 0, 2]
    """
    middles = (borders[:-1] + borders[1:]) / 2
    takers = [[int(shard)] for shard in shards]
    for worker in sorted(set(range(len(middles))) - set(shards.tolist())):
        takers[int(np.argmin(np.abs(places - middles[worker])))].append(worker)
    turns = np.arange(len(documents)) - np.searchsorted(documents, documents)  # windows of a document stand together
    return np.array([takers[document][turn % len(takers[document])]
                     for document, turn in zip(documents.tolist(), turns.tolist(), strict=True)], np.int64)


def pack(lengths: Sequence[int], workers: int, smallest: int) -> NDArray[np.int64]:
    """Cut consecutive documents into one contiguous shard a worker; return the borders [W + 1] in characters.

    The k-th border would stand at k / W of all text.  It moves to the nearest border between documents where
    that is at most a quarter of a shard away; otherwise it stays and cuts the long document it falls in.
    Shards thus hold between a half and one and a half of the mean: non-IID by document, never shuffled.

    lengths    characters of each document, in order
    smallest   characters a shard must have
    raises     ScenarioError when the text is too short for so many workers

    >>> pack([90, 110, 400], 3, 10).tolist()
    [0, 200, 400, 600]
    """
    ends = np.concatenate(([0], np.cumsum(lengths)))
    target = ends[-1] / workers
    ideal = np.arange(workers + 1) * target
    nearest = ends[np.argmin(np.abs(ends - ideal[:, None]), axis=1)]
    near = np.abs(nearest - ideal) <= target / 4
    borders: NDArray[np.int64] = np.where(near, nearest, np.round(ideal)).astype(np.int64)
    least = int(np.diff(borders).min())
    if least < smallest:
        raise ScenarioError([Problem(
            ("task", "corpus"), f"{ends[-1]} characters of training text",
            f"too short for {workers} workers: one would get {least} characters, needs {smallest}; "
            "give more text, fewer workers or a shorter context")])
    return borders
