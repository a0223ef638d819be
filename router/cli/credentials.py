"""``alert-router hash-password`` and ``alert-router new-token``: make the credentials of users."""

import hashlib
import secrets
import sys

import click

from router.cli.shared import Failure, json_option, print_json

# Each step doubles the time of a check. 12 takes a few hundred milliseconds.
_COST = 12
_MAX_PASSWORD_BYTES = 72
_TOKEN_PREFIX = "alert_router_"  # noqa: S105  (programs that look for leaked tokens recognize it)
_TOKEN_BYTES = 32


@click.command("hash-password")
@json_option
def hash_password(*, as_json: bool) -> None:
    """Print the bcrypt hash of a password, for a user in routes.yaml.

    It asks for the password twice, or reads one line of standard input if that is no terminal. Exit code 1 if the password
    can't be used.
    """
    password = _ask() if sys.stdin.isatty() else _read()
    raw = password.encode("utf-8", "surrogateescape")
    if not password.strip():
        raise Failure("The password is empty.")
    if len(raw) > _MAX_PASSWORD_BYTES:
        raise Failure(
            f"The password has {len(raw)} bytes, and bcrypt ignores what is beyond {_MAX_PASSWORD_BYTES}; choose a shorter one."
        )
    if any(character < " " or character == "\x7f" for character in password):
        raise Failure("The password has a control character in it; it can't be typed into a browser.")
    import bcrypt

    hashed = bcrypt.hashpw(raw, bcrypt.gensalt(_COST)).decode()
    if as_json:
        print_json({"password_hash": hashed})
        return
    click.echo(hashed)
    click.echo(
        "Write it in routes.yaml, below the user in `users:`, as password_hash: '…' (in quotes).", err=True
    )


def _ask() -> str:
    password: str = click.prompt(
        "Password",
        hide_input=True,
        confirmation_prompt="The same again",
        err=True,
        default="",
        show_default=False,
    )
    return password


def _read() -> str:
    text = sys.stdin.read(64 * 1024)
    lines = text.splitlines()
    if len(lines) > 1:
        raise Failure("Standard input has several lines, and a password has one.")
    return lines[0] if lines else ""


@click.command("new-token")
@json_option
def new_token(*, as_json: bool) -> None:
    """Print a random token, and its SHA-256 for a user in routes.yaml."""
    token = _TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    hashed = f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    if as_json:
        print_json({"token": token, "token_hash": hashed})
        return
    click.echo("The token. Give it to the program that sends it; nothing shows it again:")
    click.echo(f"  {token}")
    click.echo("Its hash. Write it in routes.yaml, below the user in `users:`, as an entry of tokens:")
    click.echo(f"  {hashed}")


COMMANDS = (hash_password, new_token)
