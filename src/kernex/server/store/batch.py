"""Many rows in one statement, the same SQL on both databases.

The rows travel as one JSON parameter. Measured on SQLite: ``executemany`` from a thread hands the GIL
over for every row and costs ten times as much beside a busy event loop.
"""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, text

from kernex.server.text import json_text

Kind = Literal["int", "real", "text"]
_PG_TYPES = {"int": "bigint", "real": "double precision", "text": "text"}


def rows(connection: Connection, **columns: Kind) -> str:
    """A sub-select over the parameter ``:rows``, a JSON array of arrays in the order of `columns`."""
    if connection.dialect.name == "sqlite":
        fields = (f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns))
        return f"(SELECT {', '.join(fields)} FROM json_each(:rows))"  # noqa: S608 - names are ours
    fields = (
        f"CAST(value->>{index} AS {_PG_TYPES[kind]}) AS {name}" for index, (name, kind) in enumerate(columns.items())
    )
    return f"(SELECT {', '.join(fields)} FROM json_array_elements(CAST(:rows AS json)))"  # noqa: S608


def run(connection: Connection, sql: str, values: Sequence[Sequence[Any]], **parameters: Any) -> Any:
    """Execute `sql`, which contains `rows(...)`, over these values; the result of the statement."""
    return connection.execute(text(sql), {"rows": json_text(values), **parameters})
