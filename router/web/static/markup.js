// How Slack (mrkdwn) and Discord (markdown) mark text up, as far as messages use it. Each makes nodes and strings.
import { el, link } from "./draw.js";

const EMOJI = { fire: "🔥", white_check_mark: "✅", warning: "⚠️", red_circle: "🔴", large_orange_circle: "🟠", large_blue_circle: "🔵", large_green_circle: "🟢", rotating_light: "🚨", bell: "🔔" };
const MRKDWN = /```([\s\S]+?)```|`([^`\n]+)`|<(https?:[^|>]+)(?:\|([^>]*))?>|\*([^*\n]+)\*|(?<![\w])_([^_\n]+)_(?![\w])|~([^~\n]+)~|:([a-z0-9_+-]+):/g;
const MARKDOWN = /\\([^a-zA-Z0-9\s])|\[([^\]\n]+)\]\(<(https?:[^>\s]+)>\)|(https?:\/\/[^\s<]+)|\*\*((?:\\.|[^*\\\n])+)\*\*/g;

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** What a pattern finds is made by `make`, what stands between by `plain`. */
function marked(text, pattern, make, plain = (words) => words) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(plain(text.slice(last, match.index)), make(match));
    last = match.index + match[0].length;
  }
  return [...parts, plain(text.slice(last))];
}

export function mrkdwn(text) {
  return marked(text, MRKDWN, ([whole, block, code, url, label, bold, italic, strike, emoji]) => {
    if (block) return el("pre", {}, unescape(block));
    if (code) return el("code", {}, unescape(code));
    if (url) return link(unescape(label ?? url), unescape(url));
    if (bold) return el("strong", {}, ...mrkdwn(bold));
    if (italic) return el("em", {}, ...mrkdwn(italic));
    if (strike) return el("s", {}, ...mrkdwn(strike));
    return EMOJI[emoji] ?? whole;
  }, unescape);
}

export function discordMarkdown(text) {
  return marked(text, MARKDOWN, ([, escaped, label, url, address, bold]) => {
    if (escaped) return escaped;
    if (url) return link(label, url);
    if (address) return link(address, address);
    return el("strong", {}, ...discordMarkdown(bold));
  });
}
