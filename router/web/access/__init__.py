"""Who asks, and what it may do."""

from router.web.access.principal import PRINCIPAL, Principal, needs, role_needed

__all__ = ["PRINCIPAL", "Principal", "needs", "role_needed"]
