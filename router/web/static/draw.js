// What both pages draw with. Text is only ever set as text.
export const $ = (selector) => document.querySelector(selector);
export const time = { zone: undefined }; // undefined: the reader's own

/** An element with attributes and children; strings become text nodes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function when(at, full = false) {
  const options = { timeZone: time.zone, weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false };
  if (full) Object.assign(options, { day: "numeric", month: "short" });
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(at));
}

export function link(text, href) {
  const safe = /^https?:\/\//i.test(href) ? href : "#";
  return el("a", { href: safe, rel: "noopener noreferrer", target: "_blank" }, text);
}

export function name(labels) {
  const rest = Object.entries(labels).filter(([key]) => key !== "alertname" && key !== "severity");
  return [el("strong", {}, labels.alertname ?? "(no name)"), " ", el("span", { class: "quiet" }, rest.map(([key, value]) => `${key}=${value}`).join(" "))];
}

/** :param rows: lists of cells; one that is a list itself may hold long words, and breaks them */
export function table(heads, rows) {
  const cell = (content, index) => el("td", { "data-head": heads[index], class: Array.isArray(content) ? "long" : "" }, ...[content].flat());
  return el("div", { class: "card wide scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", {}, head)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map(cell))))));
}

/** A fate and the reason for it, which may begin with the same word. */
function why(row) {
  return [el("span", { class: `tag ${row.fate}` }, row.fate), row.reason.startsWith(`${row.fate} by `) ? row.reason.slice(row.fate.length + 1) : row.reason];
}

/** A total as the router gives it: exact up to a bound, then "10000+". */
export function amount(total) {
  return `${Number.parseInt(total, 10).toLocaleString("en")}${total.endsWith("+") ? "+" : ""}`;
}

/** What is drawn of a list, and that it is not all. :param total: how many rows there are */
export function newest(rows, total, nodes) {
  if (!rows.length || String(rows.length) === total) return nodes;
  return [el("p", { class: "meta" }, `The newest ${rows.length} of ${amount(total)}`), ...nodes];
}

export function waiting(rows) {
  return table(["Alert", "Where", "Why", "Until"], rows.map((row) => [
    [el("span", { class: `tag ${row.level}` }, row.level), ...name(row.labels)], row.destination,
    why(row), row.until ? when(row.until, true) : "its inhibitor ends"]));
}

export function decisions(rows) {
  return table(["When", "Change", "Alert", "Destination", "Fate", "Rule"], rows.map((row) => [
    when(row.at), row.kind, name(row.labels), row.destination, why(row), el("code", {}, row.rule)]));
}


const drawn = {};
/** Draw a section anew if what it shows has changed; what was opened stays open. */
export function fill(id, shown, make, nothing, count = shown.length) {
  const signature = JSON.stringify(shown);
  if (drawn[id] === signature) return;
  drawn[id] = signature;
  const place = $(`#${id}`);
  const nodes = make();
  const opened = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  place.replaceChildren(...(nodes.length ? nodes : [el("p", { class: "empty" }, nothing)]));
  place.querySelectorAll("details").forEach((each, index) => {
    each.dataset.key ??= `${id}-${index}`;
    if (opened.has(each.dataset.key)) each.open = true;
  });
  const badge = $(`[data-tab="${id}"] span`);
  if (badge) badge.textContent = count || "";
}

/** Draw now, and never twice at once. */
export function drawer(draw, live) {
  let drawing = null;
  let again = false;
  return function redraw() {
    if (drawing) { again = true; return; }
    drawing = draw().catch(() => live(false)).finally(() => { drawing = null; if (again) { again = false; redraw(); } });
  };
}

export function live(on) {
  $("#live").textContent = on ? "live" : "connection lost, trying again …";
  $("#live").className = on ? "on" : "off";
}

/** Show the section of a tab. */
export function choose(tab) {
  for (const button of document.querySelectorAll("nav button")) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
  for (const section of document.querySelectorAll("main section")) section.classList.toggle("shown", section.id === tab);
}

/** Tabs: one section at a time, the address remembers which. */
export function tabs(first) {
  $("nav").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { history.replaceState(null, "", `#${button.dataset.tab}`); choose(button.dataset.tab); }
  });
  const asked = location.hash.slice(1);
  choose(document.getElementById(asked)?.tagName === "SECTION" ? asked : first);
}
