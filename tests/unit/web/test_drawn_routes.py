"""Routes as the page draws them: trees from a list that is depth first."""

from router.web.api.route_tree import RouteOfTree
from router.web.pages.routes_page import DrawnRoute, drawn


def route(path: str, depth: int) -> RouteOfTree:
    return RouteOfTree(
        path=path, parent=None, depth=depth, position=None, severity=None, matchers=[], receiver="r", destinations=[],
        continue_=False, hours=None, repeat=None, fragment=None, firing=0, fates={},
    )  # fmt: skip


def nested(nodes: list[DrawnRoute]) -> list[object]:
    return [[node.route.path, *nested(node.below)] for node in nodes]


def test_a_list_of_routes_becomes_a_tree() -> None:
    routes = [route("a", 0), route("b", 1), route("c", 2), route("d", 2), route("e", 1)]
    assert nested(drawn(routes, {})) == [["a", ["b", ["c"], ["d"]], ["e"]]]


def test_a_page_that_begins_within_the_tree_has_several_roots() -> None:
    routes = [route("c", 2), route("d", 2), route("e", 1), route("f", 2), route("g", 0)]
    assert nested(drawn(routes, {})) == [["c"], ["d"], ["e", ["f"]], ["g"]]


def test_very_deep_routes_are_drawn_at_a_bounded_depth() -> None:
    nodes, depth = drawn([route(str(number), number) for number in range(500)], {}), 0
    while nodes:
        nodes, depth = nodes[0].below, depth + 1
    assert depth == 31
