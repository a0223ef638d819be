"""Who asks, and what it may do."""

from router.web.access.principal import PRINCIPAL, Principal, acting, actor, needs, role_needed

__all__ = ["PRINCIPAL", "Principal", "acting", "actor", "needs", "role_needed"]
