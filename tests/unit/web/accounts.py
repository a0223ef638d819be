"""Users with cheap hashes, and the credentials that belong to them."""

import base64
import hashlib
from ipaddress import ip_network

import bcrypt

from router.model import AccessSettings, Role, Source, TrustedProxy, User

COST = 4  # the lowest that bcrypt allows


def hashed(password: str, cost: int = COST) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


VERA = User("vera", Role.VIEW, hashed("pw-of-vera"), (sha256("token-of-vera"), sha256("new-token-of-vera")))
OTTO = User("otto", Role.OPERATE, hashed("pw-of-otto"), (sha256("token-of-otto"),))
ADA = User("ada", Role.ADMIN, hashed("pw-of-ada"), (sha256("token-of-ada"),))
TESS = User("tess", Role.VIEW, None, (sha256("token-of-tess"),))
USERS = AccessSettings((VERA, OTTO, ADA, TESS))
PROXY = TrustedProxy((ip_network("10.9.0.0/16"), ip_network("2001:db8::/32")), "X-Forwarded-User")
BEHIND_PROXY = AccessSettings((VERA, OTTO, ADA, TESS), proxy=PROXY)
SOURCES = (
    Source("prod", bearer_token="token-of-prod"),
    Source("lab", username="lab", password="pw-of-lab"),
    Source("edge", username="edge", password_hash=hashed("pw-of-edge")),
)
SECRETS = (
    "pw-of-vera", "pw-of-otto", "pw-of-ada", "token-of-vera", "token-of-otto", "token-of-ada", "token-of-tess", "token-of-prod",
    "pw-of-lab", "pw-of-edge", "wrong-secret", *(basic(name, f"pw-of-{name}").partition(" ")[2] for name in ("vera", "ada", "edge")),
    *(each.password_hash for each in USERS.users if each.password_hash), *(token for each in USERS.users for token in each.token_hashes),
)  # fmt: skip
"""What no answer and no log line may contain."""
