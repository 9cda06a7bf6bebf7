"""One filter form for every store, pushed down to its engine; docs/filters.md has examples.

    {"metadata.subject": "saúde"}                     equals
    {"metadata.subject": ["saúde", "culinária"]}      any of
    {"metadata.tags": {"all": ["lei", "prazo"]}}      all of, in a field that holds a list
    {"metadata.subject": {"not": "saúde"}}            not equal, or not any of a list
    {"metadata.year": {"gte": 2000, "lt": 2010}}      range: gt, gte, lt, lte; of numbers, dates or date-times
    {"metadata.signed": {"lt": "2024-03-01"}}         the same with datetime.date and datetime.datetime objects
    {"metadata.court": {"exists": True}}              neither missing nor null nor []; False, or equal to None: one of these
    {"$or": [{...}, {...}]}                           also $and, and $not with one filter; nested up to 10 levels

All conditions of a mapping must hold. Of a field that holds a list, one value has to fulfil a condition. A filter has at most 10,000
conditions, of which a list of values is one.

Field names are paths into a hit's payload, with dots; it makes no difference whether a dot stands between two names or within one,
so that "metadata.subject" is {"metadata": {"subject": ...}} and {"metadata.subject": ...} alike.
In double quotes a name is taken as it is: '"metadata.subject"' is the second alone, '"Art. 5."', '"x[0]"' and '"$or"' are names.

An integer equals integers, a float equals numbers of its value, a boolean equals booleans, a text equals texts. Ranges compare integers
and floats exactly. A date is a text of a payload in a form that dates.py lists; it is compared as a moment of time, in UTC where it
names no other offset, and a date without a time is its first moment. Compared with a text, it is a text.

A store translates the conditions into its engine's own filter, or takes that native filter as it is.
"""

from __future__ import annotations

from .conditions import And, AnyOf, Condition, Exists, Not, Or, Period, Range, Scalar, leaves, let_all_pass, shown_within
from .fields import Path, field_path, readings
from .form import MAX_CONDITIONS, MAX_NESTED, parse_filter
from .written import read_filter

__all__ = [
    "MAX_CONDITIONS",
    "MAX_NESTED",
    "And",
    "AnyOf",
    "Condition",
    "Exists",
    "Not",
    "Or",
    "Path",
    "Period",
    "Range",
    "Scalar",
    "field_path",
    "leaves",
    "let_all_pass",
    "parse_filter",
    "read_filter",
    "readings",
    "shown_within",
]
