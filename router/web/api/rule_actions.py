"""Actions on the rules: load them again."""

from pydantic import BaseModel, Field

from router.load_status import ReloadError
from router.model import Role
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.problems import ApiError
from router.web.app_context import AppContext

_UNUSABLE = "The files can't be used, and the last good ones stay in force; or their load has not ended yet."


class RulesReloaded(BaseModel):
    """The rules that are in force after a reload."""

    status: str = Field(description="reloaded")
    digest: str | None = Field(description="The SHA-256 of the files in force, in hex.")


async def reload_rules(context: AppContext, _query: Query) -> RulesReloaded:
    try:
        await context.reload()
    except ReloadError as error:
        raise ApiError(422, str(error)) from error
    return RulesReloaded(status="reloaded", digest=context.rules_status().get("digest"))


RELOAD_RULES = Endpoint(
    "POST", "/api/v1/reload", reload_rules, Query, RulesReloaded,
    "Load routes.yaml and the files that it names again, as a whole or not at all.",
    Role.ADMIN, {422: _UNUSABLE}, action="reload rules",
)  # fmt: skip
ENDPOINTS = (RELOAD_RULES,)
