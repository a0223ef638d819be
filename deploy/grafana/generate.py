"""Writes the dashboards: ``python -m deploy.grafana.generate``, from the root of the repository.

They are JSON files, so Grafana needs nothing of this. Change a dashboard here and not in the JSON: a test compares them.
"""

import json
from pathlib import Path

from deploy.grafana.delivery_board import DELIVERY
from deploy.grafana.destinations_board import DESTINATIONS
from deploy.grafana.infrastructure_board import INFRASTRUCTURE
from deploy.grafana.internals_board import INTERNALS
from deploy.grafana.panels import Json

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS: dict[str, Json] = {
    "delivery-overview.json": DELIVERY,
    "destinations.json": DESTINATIONS,
    "router-internals.json": INTERNALS,
    "infrastructure.json": INFRASTRUCTURE,
}


def as_text(dashboard: Json) -> str:
    return json.dumps(dashboard, indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, each in DASHBOARDS.items():
        (FOLDER / name).write_text(as_text(each))
