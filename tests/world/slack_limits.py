"""Rules with many Slack destinations, and their messages."""

from collections.abc import Callable

from tests.world.conftest import World


async def posted(world: World, calls: int) -> None:
    """Wait until Slack has got so many calls, and check that no more follow."""
    await world.slack.until(lambda: len(world.slack.calls) >= calls)
    assert world.service is not None
    for _ in range(5):
        await world.service.store.ready()
    assert len(world.slack.calls) == calls


def to_all(world: World, channels: list[str]) -> Callable[[str], str]:
    """Return a change of the rules by which a critical goes to all these channels."""
    world.slack.channels = dict.fromkeys(channels, "any")
    everywhere = "".join(f"    - slack: {{channel: {channel}}}\n" for channel in channels)
    return lambda rules: rules.replace("    - slack: {channel: C0CRITICAL}\n", everywhere)
