"""What the errors of PostgreSQL mean, in words."""

import psycopg
import pytest

from router.store.postgresql_errors import explain
from router.store.postgresql_session import NoAnswer, UnexpectedAnswers

AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'could not write init file "base/1/pg_internal.init.7": No space left on device',
            "the server's disk is full; make room",
        ),
        ('role "router" does not exist', "start the server, or check the address, the user and the password"),
    ],
)
def test_a_connection_that_cannot_begin_says_why(said: str, words: str) -> None:
    found, may_pass = explain(psycopg.OperationalError(AT + said))
    assert words in found
    assert may_pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            NoAnswer("the server has not answered within 5 s"),
            "check the server, and the network or a proxy before it",
        ),
        (
            UnexpectedAnswers("the server sent more answers than there were statements"),
            "see the log of the server",
        ),
    ],
)
def test_a_session_that_was_closed_says_why(error: psycopg.Error, words: str) -> None:
    found, may_pass = explain(error)
    assert found.startswith(str(error))
    assert words in found
    assert may_pass
