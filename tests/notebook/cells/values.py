"""Values a notebook holds, each made anew at every call: what their digests are tried on."""

import collections
import datetime
import decimal
import enum
import functools
import operator
import pathlib
import random
import re
import types
import uuid
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pandas
import polars
import pyarrow
import scipy.sparse
import sklearn.base
from sklearn.cluster import DBSCAN, KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KDTree, KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

Make = Callable[[], Any]


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Slots:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, "x"


class Plain:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def go(self) -> int:
        return 1


class Words(dict[str, Any]):
    """A dict with attributes."""


def shared() -> list[Any]:
    word = "wo" + str(1)
    return [word, word, "wo1", {"wo1": word}]


def cycle() -> list[Any]:
    items: list[Any] = [1, "a"]
    items.append({"a": items, "b": Plain(up=items, name="a")})
    return items


def tree() -> Plain:
    root = Plain(children=[], name="root")
    for name in ("a", "b", "a"):
        root.children.append(Plain(parent=root, name=name, label="root"))  # type: ignore[attr-defined]
    return root


def frame() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "f": [1.5, float("nan"), -0.0],
            "i": [1, 2, 3],
            "s": ["a", None, "c"],
            "o": pandas.Series([1, "x", None], dtype=object),
            "c": pandas.Categorical(["u", "v", "u"]),
            "d": pandas.date_range("2026-01-01", periods=3, tz="Europe/Berlin"),
            "t": pandas.to_timedelta([1, 2, 3], unit="s"),
            "n": pandas.array([1, None, 3], dtype="Int64"),
            "b": pandas.array([True, None, False], dtype="boolean"),
            "p": pandas.period_range("2026-01", periods=3, freq="M"),
        },
        index=pandas.Index(["x", "y", "z"], name="key"),
    )


def masked() -> Any:
    return numpy.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False], fill_value=-1)


BASIC: dict[str, Make] = {
    "numbers": lambda: [1, 1.5, True, None, 1 + 2j, 10**40, float("nan"), float("inf"), -0.0],
    "texts": lambda: ["a", "ä", "\ud800", b"b", bytearray(b"c")],
    "shared texts": shared,
    "sets": lambda: [{"b", "a"}, frozenset({1, "x", (2, "y")}), {frozenset({"p", "q"}), "r"}, set()],
    "many words": lambda: {f"w{n}" for n in range(200)},
    "dict": lambda: {"b": 1, "a": [1, {"c": (2, 3)}], 3: None},
    "many numbers": lambda: list(range(1000)),
    "named": lambda: collections.OrderedDict(a=1),
    "counter": lambda: collections.Counter("abca"),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "deque": lambda: collections.deque([1, 2], maxlen=3),
    "dates": lambda: [datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), datetime.timedelta(1)],
    "exact": lambda: [decimal.Decimal("1.10"), uuid.UUID(int=3), pathlib.PurePosixPath("a/b"), range(3), slice(1, 2)],
    "enum": lambda: [Colour.RED, Flags.A | Flags.B],
    "slots": Slots,
    "plain": lambda: Plain(b=1, a=Plain(c={1, 2})),
    "words": lambda: Words(a=1),
    "namespace": lambda: types.SimpleNamespace(a=1, b="x"),
    "pattern": lambda: re.compile("a+", re.I),
    "functions": lambda: [len, operator.itemgetter("a"), functools.partial(max, key=abs), [].append, str.join],
    "bound method": lambda: Plain(a=1).go,
    "class": lambda: [Plain, int, Colour],
    "random": lambda: random.Random(3),
    "exception": lambda: ValueError("a", 1),
    "cycle": cycle,
    "tree": tree,
    "array": lambda: numpy.arange(12.0).reshape(3, 4),
    "integers": lambda: numpy.arange(12, dtype="int16"),
    "texts in an array": lambda: numpy.array(["a", "bcd"]),
    "objects in an array": lambda: numpy.array([{"a"}, None, "x"], dtype=object),
    "dates in an array": lambda: numpy.array(["2026-01-02", "NaT"], dtype="datetime64[D]"),
    "fields": lambda: numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": masked,
    "masked and hidden": lambda: numpy.ma.masked_invalid([1.0, float("nan")]),
    "scalars": lambda: [numpy.float32(1.5), numpy.datetime64("2026-01-02"), numpy.bool_(True)],
    "empty arrays": lambda: [numpy.zeros((0, 3)), numpy.zeros(()), numpy.array([], dtype=object)],
    "generator of numpy": lambda: numpy.random.default_rng(3),
    "dtype": lambda: [numpy.dtype("f8"), numpy.float64, numpy.add],
    "sparse": lambda: scipy.sparse.csr_matrix(numpy.eye(3)),
    "frame": frame,
    "series": lambda: frame()["s"].rename("named"),
    "indexes": lambda: [frame().index, pandas.RangeIndex(3), pandas.MultiIndex.from_product([["a"], [1, 2]])],
    "frame of many types": lambda: frame().set_index(["i", "c"]),
    "grouped": lambda: frame().groupby("i").sum(numeric_only=True),
    "frame with attributes": lambda: frame().assign(z=1).set_flags(allows_duplicate_labels=True),
    "categorical": lambda: pandas.Categorical(["b", "a"], categories=["a", "b"], ordered=True),
    "timestamp": lambda: [pandas.Timestamp("2026-01-02", tz="UTC"), pandas.NaT, pandas.NA, pandas.Interval(0, 1)],
    "table": lambda: pyarrow.table({"a": [1, None, 3], "b": ["x", "y", None]}),
    "arrow": lambda: [pyarrow.array([1, 2]), pyarrow.chunked_array([["a"], ["b"]])],
    "polars": lambda: polars.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "series of polars": lambda: polars.Series("a", [1.5, None]),
}

_X = numpy.random.RandomState(0).rand(30, 3)
_Y = (_X[:, 0] > 0.5).astype(int)
_TEXTS = ["aa bb cc", "bb cc dd", "aa dd"] * 5


def _fitted(model: Any, x: Any = _X, y: Any = _Y) -> Make:
    return lambda: sklearn.base.clone(model).fit(x, y)


MODELS: dict[str, Make] = {
    type(model).__name__: _fitted(model)
    for model in (
        LinearRegression(), Ridge(), Lasso(), LogisticRegression(), SGDClassifier(random_state=0), SVC(),
        DecisionTreeClassifier(random_state=0), RandomForestClassifier(5, random_state=0),
        GradientBoostingRegressor(n_estimators=5, random_state=0), HistGradientBoostingClassifier(max_iter=3, random_state=0),
        KNeighborsClassifier(), GaussianNB(), KMeans(2, n_init=1, random_state=0), PCA(2), NMF(2, random_state=0),
        MiniBatchKMeans(2, n_init=1, random_state=0), DBSCAN(), TruncatedSVD(2, random_state=0), DummyClassifier(),
        GaussianMixture(2, random_state=0), StandardScaler(), SimpleImputer(), OneVsRestClassifier(SVC()),
        GaussianProcessRegressor(optimizer=None, random_state=0), KBinsDiscretizer(quantile_method="averaged_inverted_cdf"),
        OneHotEncoder(), make_pipeline(StandardScaler(), SVC()),
        ColumnTransformer([("a", StandardScaler(), [0, 1])]),
    )
} | {
    "IsotonicRegression": _fitted(IsotonicRegression(), _X[:, 0]),
    "CountVectorizer": _fitted(CountVectorizer(), _TEXTS),
    "TfidfVectorizer": _fitted(TfidfVectorizer(), _TEXTS),
    "MLPClassifier": _fitted(MLPClassifier((4,), max_iter=400, tol=1, random_state=0)),
    "KDTree": lambda: KDTree(_X),
    "GridSearchCV": _fitted(GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2)),
}  # fmt: skip

EVERYTHING: dict[str, Make] = {**BASIC, **MODELS}
TIMED = frozenset({"GridSearchCV"})
"""Values that hold how long something took: two of them are never equal."""

ADDRESSED = frozenset({"CountVectorizer", "TfidfVectorizer"})
"""Values that hold an address (`_stop_words_id`): made in another process, they are others; restored there, equal."""
