// Slack's mrkdwn, as far as messages use it: bold, italics, strikes, code, links, line breaks, emoji names.
const EMOJI = { fire: "🔥", white_check_mark: "✅", warning: "⚠️", red_circle: "🔴", large_orange_circle: "🟠", large_blue_circle: "🔵", large_green_circle: "🟢", rotating_light: "🚨", bell: "🔔" };
const PATTERN = /```([\s\S]+?)```|`([^`\n]+)`|<(https?:[^|>]+)(?:\|([^>]*))?>|\*([^*\n]+)\*|(?<![\w])_([^_\n]+)_(?![\w])|~([^~\n]+)~|:([a-z0-9_+-]+):/g;

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** A list of nodes and strings for a piece of mrkdwn. */
export function mrkdwn(text, el, link) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(PATTERN)) {
    const [whole, block, code, url, label, bold, italic, strike, emoji] = match;
    parts.push(unescape(text.slice(last, match.index)));
    last = match.index + whole.length;
    if (block) parts.push(el("pre", {}, unescape(block)));
    else if (code) parts.push(el("code", {}, unescape(code)));
    else if (url) parts.push(link(unescape(label ?? url), unescape(url)));
    else if (bold) parts.push(el("strong", {}, ...mrkdwn(bold, el, link)));
    else if (italic) parts.push(el("em", {}, ...mrkdwn(italic, el, link)));
    else if (strike) parts.push(el("s", {}, ...mrkdwn(strike, el, link)));
    else parts.push(EMOJI[emoji] ?? whole);
  }
  parts.push(unescape(text.slice(last)));
  return parts;
}
