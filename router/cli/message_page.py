"""A page of messages in one file: the cards and the style of the preview, without a server."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

_STYLE = Path(__file__).parent.parent / "web" / "pages" / "static" / "style.css"
# Makes a frame as high as the mail in it.
_SCRIPT = """
for (const frame of document.querySelectorAll("iframe")) {
  const fit = () => {
    frame.style.height = "0"; // a document is never lower than its frame
    frame.style.height = `${frame.contentDocument.documentElement.scrollHeight + 2}px`;
  };
  frame.addEventListener("load", fit);
  if (frame.contentDocument?.readyState === "complete") fit();
}
"""
# The same style and scripts as the preview's; a message can't load anything and can't run a script of its own.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'"
_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1></header>
<main><section class="messages">{cards}</section></main>
<script>{script}</script>
</body>
</html>
""")


def page_with_cards(title: str, cards: Iterable[Markup]) -> str:
    """Return a page that shows cards, as an HTML document that needs no other file.

    :param cards: see :func:`router.channels.cards.card`
    """
    script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _PAGE.format(
        policy=_POLICY.format(script_hash),
        title=title,
        style=Markup(_STYLE.read_text()),  # noqa: S704  (a file of the router)
        cards=Markup().join(cards),
        script=Markup(_SCRIPT),  # noqa: S704  (a constant)
    )
