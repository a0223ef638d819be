"""A service file of libpq names the servers: failover, a server that hangs, a password that changes, and what people see."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from router.store import Store, StoreUnavailable, postgresql_address
from router.store.backend import Backend, open_backend
from router.store.postgresql_address import Address
from tests.postgresql import PASSWORD, Server
from tests.standby import standby
from tests.tcp_proxy import proxied

_URL = "postgresql:///?service=router"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the service file of the environment. The host is a list of hosts, as in libpq."""
    file = tmp_path / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    def write(**parameters: Any) -> None:
        lines = [f"{name}={value}" for name, value in parameters.items()]
        file.write_text(
            "\n".join(["# comment", "[other]", "host=elsewhere", "[router]", *lines, "[last]", "port=1"])
        )

    return write


@pytest.fixture
def set_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the service of the environment, as if the process began with it."""

    def set_variable(service: str) -> None:
        postgresql_address.taken_service.cache_clear()
        monkeypatch.setenv("PGSERVICE", service)

    yield set_variable
    postgresql_address.taken_service.cache_clear()


@pytest.fixture
def hanging() -> Iterator[int]:
    """The port of a server that accepts connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def name(postgresql: Server) -> Iterator[str]:
    name = postgresql.create()
    yield name
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def asked(backend: Backend, question: str) -> Any:
    try:
        with backend.open_read_only() as connection:
            return connection.exec_driver_sql(question).scalar_one()
    finally:
        backend.close()


async def test_a_standby_that_is_named_first_is_passed(
    own_postgresql: Server, write: Callable[..., None]
) -> None:
    own_postgresql.execute("CHECKPOINT")
    with standby(own_postgresql) as other:
        hosts = f"{other.socket.parent},{own_postgresql.socket.parent}"
        write(host=hosts, user="postgres", dbname="postgres")
        for url in (
            _URL, f"postgresql://postgres@/postgres?host={hosts}",
            f"postgresql://postgres@/postgres?host={hosts.replace(',', '&host=')}",
        ):  # fmt: skip
            assert asked(open_backend(url), "SELECT pg_is_in_recovery()") is False
        # Who asks for any server gets the first one.
        any_server = open_backend(f"{_URL}&target_session_attrs=any")
        assert asked(any_server, "SELECT pg_is_in_recovery()") is True


@pytest.mark.parametrize("is_in_file", [True, False])
async def test_a_server_that_hangs_is_passed(
    postgresql: Server,
    name: str,
    write: Callable[..., None],
    hanging: int,
    is_in_file: bool,
) -> None:
    hosts = {"host": f"127.0.0.1,{postgresql.socket.parent}", "port": f"{hanging},5432"}
    named = {"user": "postgres", "dbname": name, "connect_timeout": 2}
    write(**(hosts if is_in_file else {}), **named)
    query = "" if is_in_file else "".join(f"&{key}={value}" for key, value in hosts.items())
    assert asked(open_backend(_URL + query), "SELECT 1") == 1


async def test_names_are_looked_up_outside_of_libpq(
    postgresql: Server, name: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq would stop all threads meanwhile."""
    look_up = socket.getaddrinfo

    def looked_up(host: Any, *given: Any, **named: Any) -> Any:
        return look_up("127.0.0.1" if host == "db.invalid" else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    with proxied(postgresql.socket) as proxy:
        write(host="db.invalid", port=proxy.port, user="postgres", dbname=name)
        assert asked(open_backend(_URL), "SELECT 1") == 1


async def test_a_password_that_changes_is_used(
    postgresql: Server, name: str, write: Callable[..., None]
) -> None:
    postgresql.execute("GRANT ALL ON SCHEMA public TO locked", name)
    there = {"host": postgresql.socket.parent, "dbname": name, "user": "locked"}
    write(**there, password=PASSWORD)
    store = await Store.open(_URL)
    postgresql.execute("ALTER ROLE locked PASSWORD 'n=w'")
    try:
        postgresql.execute(
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.ready()
        write(**there, password="n=w")
        await store.ready()
        await store.pages.status()
    finally:
        postgresql.execute(f"ALTER ROLE locked PASSWORD '{PASSWORD}'")
        await store.close()


@pytest.mark.parametrize(
    ("query", "environment", "shown"),
    [
        ("", {}, "postgresql://db1:5432,db2:5433/alerts"),
        ("&port=6432", {}, "postgresql://db1:6432,db2:6432/alerts"),
        ("&host=db3&port=1&dbname=other", {}, "postgresql://db3:1/other"),
        ("", {"PGDATABASE": "ignored"}, "postgresql://db1:5432,db2:5433/alerts"),
    ],
)
def test_people_see_the_servers_of_the_file_unless_the_url_has_others(
    write: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    environment: dict[str, str],
    shown: str,
) -> None:
    for each in environment.items():
        monkeypatch.setenv(*each)
    write(host="db1,db2", port="5432,5433", dbname="alerts", user="u", password=PASSWORD)
    assert open_backend(_URL + query).name == shown


@pytest.mark.parametrize(
    ("parameters", "target"),
    [
        ({"host": "db1"}, None),
        ({"host": "db1,db2"}, "read-write"),
        ({"hostaddr": "10.0.0.1,10.0.0.2"}, "read-write"),
        ({"host": "db1,db2", "target_session_attrs": "primary"}, "primary"),
    ],
)
def test_of_several_servers_the_one_that_can_write_is_asked_for(
    write: Callable[..., None], parameters: dict[str, str], target: str | None
) -> None:
    write(**parameters)
    assert Address(make_url(_URL)).parameters().get("target_session_attrs") == target


def test_libpqs_variables_name_the_servers_and_the_service(
    write: Callable[..., None], monkeypatch: pytest.MonkeyPatch, set_service: Callable[[str], None]
) -> None:
    write(host="db1")
    for variable in ("PGHOST", "PGDATABASE"):
        monkeypatch.setenv(variable, variable.lower())
    assert open_backend("postgresql:///").name == "postgresql://pghost/pgdatabase"
    set_service("router")
    assert open_backend("postgresql:///").name == "postgresql://db1/pgdatabase"
    assert open_backend("postgresql:///").name == "postgresql://db1/pgdatabase"


@pytest.mark.parametrize(
    ("url", "variable"),
    [("service=router&", "other"), ("", "router"), ("service=router&", "")],
    ids=["the URL wins", "only the variable", "empty"],
)
async def test_libpq_does_not_look_for_the_service_again(
    postgresql: Server,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_service: Callable[[str], None],
    url: str,
    variable: str,
) -> None:
    """It would look in its own file, which has none."""
    file = tmp_path / "named"
    file.write_text(f"[router]\nhost={postgresql.socket.parent}\ndbname={name}\nuser=postgres\n")
    monkeypatch.delenv("PGSERVICEFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    set_service(variable)
    store = await Store.open(f"postgresql:///?{url}servicefile={file}")
    await store.ready()
    await store.close()


def test_the_file_of_the_user_comes_before_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSERVICEFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    (tmp_path / "home").mkdir()
    shared, own = tmp_path / "pg_service.conf", tmp_path / "home" / ".pg_service.conf"
    shared.write_text("[router]\nhost=shared\n")
    assert open_backend(_URL).name == "postgresql://shared/"
    own.write_text("[other]\nhost=other\n")
    assert open_backend(_URL).name == "postgresql://shared/"
    own.write_text("[router]\nhost=own\nhost=second\n")
    assert open_backend(_URL).name == "postgresql://own/"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "services can't be read: No such file or directory"),
        ("[other]\nhost=db\n", "the service 'router' is neither in "),
        (f"[router]\nhost=db\n{PASSWORD}\n", "services, line 3, is not a parameter of libpq=value"),
        (f"[router]\npasword={PASSWORD}\n", "services, line 2, is not a parameter of libpq=value"),
        ("[router]\nservice=other\n", "services, line 2, is not a parameter of libpq=value"),
    ],
)
async def test_a_file_that_can_not_be_used_is_reported_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, says: str
) -> None:
    file = tmp_path / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    if text is not None:
        file.write_text(text)
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(_URL)
    assert says in str(refused.value)
    assert not refused.value.passes
    assert PASSWORD not in str(refused.value)
    assert "pasword" not in str(refused.value)


async def test_a_file_that_is_gone_for_a_while_is_an_outage(
    postgresql: Server, name: str, write: Callable[..., None], tmp_path: Path
) -> None:
    there = {"host": postgresql.socket.parent, "dbname": name, "user": "postgres"}
    write(**there)
    store = await Store.open(_URL)
    (tmp_path / "services").unlink()
    postgresql.execute(
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    for work in (store.ready, store.ready, store.pages.status):
        with pytest.raises(StoreUnavailable):
            await work()
    write(**there)
    await store.ready()
    await store.pages.status()
    await store.close()
