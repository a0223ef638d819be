"""A database of an older version is mended when it is opened."""

from pathlib import Path

import sqlalchemy as sa

from router.decide.matchers import parse_matchers
from router.store import Search, Store
from router.store.opening import migrate


async def test_conversations_that_an_older_version_left_open_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    migrate(engine, "0005")
    with engine.begin() as connection:
        for number, (subject, truncated, status, told) in enumerate(
            [
                ("group:g", 0, "resolved", "none"),  # ended before anyone was told
                ("group:h", 0, "firing", "none"),
                ("group:i", 0, "resolved", "firing"),  # its end has yet to be told
                ("group:j", 3, "resolved", "resolved"),  # what Alertmanager hides may fire
                ("alert:k", 3, "resolved", "resolved"),
            ]
        ):
            for statement in (
                "INSERT INTO groups VALUES (:n, 's', 'r', :subject, '{}', '', :truncated)",
                (
                    "INSERT INTO alerts (id, source, fingerprint, group_id, labels, annotations, links, generator_url,"
                    " status, level, peer, changed_at, seen_at)"
                    " VALUES (:n, 's', :n, :n, '{}', '{}', '{}', '', :status, 'critical', '', 0, 0)"
                ),
                (
                    "INSERT INTO conversations VALUES (:n, 'd', 's', :subject, 1, :n, :n, 'open', 0, 0, 0, NULL, 0, 0,"
                    " '{}', NULL, NULL, 0)"
                ),
                (
                    "INSERT INTO members (id, conversation_id, alert_id, status, told, verdict, rule, reason)"
                    " VALUES (:n, :n, :n, :status, :told, 'send', '', '')"
                ),
            ):
                connection.execute(
                    sa.text(statement),
                    {"n": number, "subject": subject, "truncated": truncated, "status": status, "told": told},
                )
    await (await Store.open(f"sqlite:///{path}")).close()
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT group_key, state, open FROM conversations c JOIN members m ON m.conversation_id = c.id"
                " JOIN groups g ON g.id = c.group_id"
            )
        ).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [
        ("group:g", "closed", 0), ("group:h", "open", 1), ("group:i", "open", 1), ("group:j", "open", 1),
        ("alert:k", "closed", 0),
    ]  # fmt: skip


async def test_kinds_failovers_and_own_messages_get_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    migrate(engine, "0009")
    conversation = (
        "INSERT INTO conversations (id, destination, source, subject, episode, group_id, token, state, urgency,"
        " wanted, synced, not_before, attempts, partly, remote, slot, created_at)"
        " VALUES (:n, 'd', 's', :subject, 1, :group, :n, 'open', 0, 0, 0, 0, 0, 0, :remote, :slot, 0)"
    )
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO groups VALUES (1, 's', 'r', 'g', '{}', '', 0)"))
        connection.execute(
            sa.text(
                "INSERT INTO alerts (id, source, identity, group_id, labels, annotations, links, generator_url,"
                " status, level, peer, changed_at, seen_at)"
                " VALUES (1, 's', 'i', 1, '{}', '{}', '{}', '', 'firing', 'critical', '', 0, 0)"
            )
        )
        for number, (subject, group, slot, remote, rule) in enumerate(
            [
                ("group:r:alert:g", 1, None, '{"ts": "1"}', "route"),
                ("alert:i", 1, None, "{}", "on_failure of slack:C1"),
                ("slot:9", None, 9, "{}", "on_failure of email:a"),
                ("storm", None, None, '{"ts": "2"}', "route"),
            ],
            1,
        ):
            given = {"n": number, "subject": subject, "group": group, "slot": slot, "remote": remote}
            connection.execute(sa.text(conversation), given)
            connection.execute(
                sa.text(
                    "INSERT INTO members (id, conversation_id, alert_id, status, told, verdict, rule, reason)"
                    " VALUES (:n, :n, 1, 'firing', :told, 'send', :rule, '')"
                ),
                {"n": number, "rule": rule, "told": "firing" if number < 3 else "none"},
            )
    migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT kind, own_message, failover, storm_id FROM conversations c"
                " JOIN members m ON m.conversation_id = c.id ORDER BY c.id"
            )
        ).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [
        ("group", 1, 0, None), ("alert", 0, 1, 4), ("digest", 0, 1, None), ("storm", 1, 0, None),
    ]  # fmt: skip


async def test_alerts_of_an_older_version_are_found_by_label_and_have_a_short_story(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    migrate(engine, "0010")
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO groups VALUES (1, 's', 'r', 'g', '{}', '', 0)",
            (
                "INSERT INTO alerts (id, source, identity, group_id, labels, annotations, links, generator_url,"
                " status, level, peer, changed_at, seen_at) VALUES (2, 's', 'i', 1, '{\"alertname\": \"Dówn\"}',"
                " '{\"summary\": \"ö\"}', '{}', '', 'firing', 'critical', '', 0, 0)"
            ),
            "INSERT INTO webhooks (id, source, received_at, body) VALUES (3, 's', 5, CAST('{}' AS BLOB))",
            "INSERT INTO changes VALUES (4, 3, 2, 'fired', 'critical', 5, 1)",
            "INSERT INTO fates VALUES (6, 4, 'd', NULL, 'delivered', 'route', 'told', 1, 5, 7)",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    store = await Store.open(f"sqlite:///{path}")
    (found,) = (await store.pages.find_alerts(Search(parse_matchers('alertname="Dówn"')))).alerts
    assert (found["id"], found["annotations"]) == (2, {"summary": "ö"})
    known = await store.pages.story(2)
    assert known is not None
    assert [(each["at"], each["event"], each.get("reason")) for each in known.events] == [
        (5, "change", None), (7, "fate", "told"),
    ]  # fmt: skip
    assert await store.pages.body(3) == b"{}"
    await store.close()
