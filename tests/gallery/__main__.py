"""Makes docs/gallery/: ``python -m tests.gallery``, or ``make gallery``."""

import asyncio
import logging
import sys

import structlog

from tests.gallery.alertmanager_defaults import default_texts, is_available
from tests.gallery.incidents import Incident, incident_names, load_incident
from tests.gallery.pictures import CHROMIUM, drawing, picture
from tests.gallery.playing import Played, messages_of
from tests.gallery.texts import ALERTMANAGER, CHANNELS, GALLERY, channel_of, index, texts_of


async def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    incidents = [load_incident(name) for name in incident_names()]
    played = {each.name: await messages_of(each) for each in incidents}
    write_texts(incidents, played)
    if not CHROMIUM.exists():
        print(f"No pictures: {CHROMIUM} is missing; apt-get install chromium", file=sys.stderr)  # noqa: T201
        return 1
    async with drawing() as page:
        for name, steps in played.items():
            for channel in CHANNELS:
                entries = [entry for step in steps for entry in step.entries if channel_of(entry) == channel]
                if entries:
                    newest = max(entries, key=lambda entry: (entry.updated_at, entry.id))
                    (GALLERY / name / f"{channel}.png").write_bytes(await picture(page, newest))
    size = sum(path.stat().st_size for path in GALLERY.rglob("*") if path.is_file())
    print(f"{GALLERY}: {len(incidents)} incidents, {size / 1e6:.1f} MB")  # noqa: T201
    return 0


def write_texts(incidents: list[Incident], played: dict[str, list[Played]]) -> None:
    for incident in incidents:
        folder = GALLERY / incident.name
        folder.mkdir(parents=True, exist_ok=True)
        for channel, text in texts_of(played[incident.name]).items():
            (folder / f"{channel}.txt").write_text(text)
        if is_available():
            (folder / ALERTMANAGER).write_text(default_texts(incident))
    (GALLERY / "README.md").write_text(index(incidents))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
