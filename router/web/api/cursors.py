"""Lists in pages: the parameters of a page, and the cursor that the next page begins after."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.web.api.problem_details import ApiError, FieldProblem

Row = TypeVar("Row")
MAX_ROWS_PER_PAGE = 500
_MAX_CURSOR_CHARS = 400
Cursor = tuple[int | str, ...]
"""The values of the last row of a page by which the list is ordered."""


class Query(BaseModel):
    """The parameters of an operation. A parameter that is not named here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _fits_the_database(self) -> Self:
        for name in type(self).model_fields:
            _check(getattr(self, name))
        return self


def _check(value: object) -> None:
    """:raises ValueError: no database can take the value as a parameter"""
    if isinstance(value, str):
        if not _is_storable(value):
            raise ValueError("a text has the character NUL, or half of a character")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a number is too large")
    elif isinstance(value, list | tuple):
        for each in value:
            _check(each)


def _is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


class PageQuery(Query):
    """The parameters of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_ROWS_PER_PAGE, description="The most rows of the answer.")] = 50
    cursor: Annotated[
        str | None, Field(max_length=_MAX_CURSOR_CHARS, description="``next`` of the page before.")
    ] = None

    def last_id(self) -> int | None:
        """Return the cursor of a list that is ordered by falling ids: the last id of the page before; None: this is the first
        page.

        :raises ApiError: the cursor is none of this list
        """
        cursor = self.after(int)
        return None if cursor is None else int(cursor[0])

    def after(self, *types: type) -> Cursor | None:
        """Return the values of the cursor; None: this is the first page.

        :param types: the type of each value: int or str
        :raises ApiError: the cursor is none of this list
        """
        return None if self.cursor is None else _decode(self.cursor, types)


class Page(BaseModel, Generic[Row]):
    """A page of a list."""

    items: list[Row]
    total: int = Field(description="How many rows the whole list has with these filters.")
    total_is_exact: bool = Field(default=True, description="False: there are more rows than ``total`` says.")
    next: str | None = Field(
        default=None, description="The cursor of the next page; null: this is the last one."
    )


def page_of(items: Sequence[Row], query: PageQuery) -> tuple[Sequence[Row], str | None]:
    """Return a page of a list that is in memory, and the cursor of the next page.

    :raises ApiError: the cursor is none of this list
    """
    cursor = query.after(int)
    first = 0 if cursor is None else int(cursor[0])
    if not 0 <= first < max(1, len(items)):
        raise _invalid_cursor()
    end = first + query.limit
    return items[first:end], encode_cursor((end,)) if end < len(items) else None


def rows_of_page(
    rows: Sequence[Row], query: PageQuery, id_of: Callable[[Row], int]
) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page of a list that is ordered by falling ids, and the cursor of the next page.

    :param rows: those that were read for the page: one more than its limit, if the list goes on
    """
    shown = rows[: query.limit]
    return shown, encode_cursor((id_of(shown[-1]),)) if len(rows) > query.limit else None


def encode_cursor(values: Cursor | None) -> str | None:
    """Return a cursor as text for addresses; None: there is no next page."""
    if values is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(text: str, types: tuple[type, ...]) -> Cursor:
    try:
        values = json.loads(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    fits = (
        isinstance(values, list)
        and len(values) == len(types)
        and all(type(value) is kind for value, kind in zip(values, types, strict=True))
        and all(not isinstance(value, int) or abs(value) < 2**63 for value in values)
        and all(not isinstance(value, str) or _is_storable(value) for value in values)
    )
    if not fits:
        raise _invalid_cursor()
    return tuple(values)


def _invalid_cursor() -> ApiError:
    wrong = FieldProblem(parameter="cursor", problem="it is no cursor of this list; begin without one")
    return ApiError(400, f"{wrong.parameter}: {wrong.problem}", (wrong,))
