"""The page of the API shows every operation of the OpenAPI document."""

from router.web.pages.api_page import operations_of
from tests.world.browsing import read
from tests.world.conftest import World


async def test_the_page_shows_every_operation_with_its_fields(world: World) -> None:
    await world.start()
    document = await world.get("/api/v1/openapi.json")
    page = await read(world, "/api")
    count = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            count += 1
            assert operation["operationId"] in page.ids
            assert f"{method.upper()} {path}" in page.text
            assert operation["summary"] in page.text
    assert len([each for each in page.tags if each == "article"]) == count
    assert "items[].settled_at" in page.text
    assert len(page.ids) == len(set(page.ids))
    anchors = {each[1:] for each in page.links if each.startswith("#")}
    assert anchors <= set(page.ids)


async def test_examples_name_what_an_operation_needs(world: World) -> None:
    await world.start()
    document = await world.get("/api/v1/openapi.json")
    examples = {each.id: each.example for shown in operations_of(document).values() for each in shown}
    assert examples["download_quarantined"].endswith('"$ROUTER/api/v1/quarantine/1/body"')
    assert examples["settle_quarantine"].startswith("curl -X POST ")
    assert """-d '{"source": "SOURCE", "until": 1}'""" in examples["settle_quarantine"]
