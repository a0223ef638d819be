"""``alert-router schema``: the JSON Schema of routes.yaml, for editors."""

import click

from router.cli.shared import print_json


@click.command("schema")
@click.option("--team", is_flag=True, help="Print the schema of an included file of a team.")
def schema(*, team: bool) -> None:
    """Print the JSON Schema of routes.yaml (draft 7), with which editors check and complete it."""
    from router.config.json_schema import schema_of_routes, schema_of_team

    print_json(schema_of_team() if team else schema_of_routes())


COMMANDS = (schema,)
