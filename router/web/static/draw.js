// Draws the lists and tabs of both pages. Text is set as text, never as HTML.
export const select = (selector) => document.querySelector(selector);
export const time = { zone: undefined }; // undefined: the browser's own

/** Return an element with attributes and children. Strings become text nodes. */
export function element(tag, attributes = {}, ...children) {
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

/** Return an alert as its name and its other labels. */
export function alertName(labels) {
  const rest = Object.entries(labels).filter(([key]) => key !== "alertname" && key !== "severity");
  return [element("strong", {}, labels.alertname ?? "(no name)"), " ", element("span", { class: "quiet" }, rest.map(([key, value]) => `${key}=${value}`).join(" "))];
}

/** Return a table. :param rows: lists of cells; in a cell that is a list, long words may be broken */
export function table(heads, rows) {
  const cell = (content, index) => element("td", { "data-head": heads[index], class: Array.isArray(content) ? "long" : "" }, ...[content].flat());
  return element("div", { class: "card wide scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map(cell))))));
}

/** Return a fate and its reason. The reason may begin with the same word. */
function fateReason(row) {
  return [element("span", { class: `tag ${row.fate}` }, row.fate), row.reason.startsWith(`${row.fate} by `) ? row.reason.slice(row.fate.length + 1) : row.reason];
}

/** Return a total for people. The router sends it exact up to a bound, then as "10000+". */
export function amount(total) {
  return `${Number.parseInt(total, 10).toLocaleString("en")}${total.endsWith("+") ? "+" : ""}`;
}

/** Return the nodes of a list; if it is not complete, with a line that counts the rows. :param total: how many rows there are */
export function newest(rows, total, nodes) {
  if (!rows.length || String(rows.length) === total) return nodes;
  return [element("p", { class: "meta" }, `The newest ${rows.length} of ${amount(total)}`), ...nodes];
}

export function waiting(rows) {
  return table(["Alert", "Destination", "Why", "Until"], rows.map((row) => [
    [element("span", { class: `tag ${row.level}` }, row.level), ...alertName(row.labels)], row.destination,
    fateReason(row), row.until ? when(row.until, true) : "the inhibitor ends"]));
}

export function decisions(rows) {
  return table(["When", "Change", "Alert", "Destination", "Fate", "Rule"], rows.map((row) => [
    when(row.at), row.kind, alertName(row.labels), row.destination, fateReason(row), element("code", {}, row.rule)]));
}


const signatures = {};
/** Draw a section again if its data has changed. Open details stay open. */
export function fill(id, shown, make, nothing, count = shown.length) {
  const signature = JSON.stringify(shown);
  if (signatures[id] === signature) return;
  signatures[id] = signature;
  const section = select(`#${id}`);
  const nodes = make();
  const opened = new Set([...section.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  section.replaceChildren(...(nodes.length ? nodes : [element("p", { class: "empty" }, nothing)]));
  section.querySelectorAll("details").forEach((each, index) => {
    each.dataset.key ??= `${id}-${index}`;
    if (opened.has(each.dataset.key)) each.open = true;
  });
  const badge = select(`[data-tab="${id}"] span`);
  if (badge) badge.textContent = count || "";
}

/** Return a function that draws now, but never twice at the same time. */
export function redrawer(draw, live) {
  let drawing = null;
  let again = false;
  return function redraw() {
    if (drawing) { again = true; return; }
    drawing = draw().catch(() => live(false)).finally(() => { drawing = null; if (again) { again = false; redraw(); } });
  };
}

export function live(on) {
  select("#live").textContent = on ? "live" : "connection lost, trying again …";
  select("#live").className = on ? "on" : "off";
}

/** Show the section of the tab with this name; if no visible tab has it, the section of the first tab. */
export function choose(name) {
  const visible = [...document.querySelectorAll("nav button:not([hidden])")];
  const { tab } = (visible.find((button) => button.dataset.tab === name) ?? visible[0]).dataset;
  for (const button of document.querySelectorAll("nav button")) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
  for (const section of document.querySelectorAll("main section")) section.classList.toggle("shown", section.id === tab);
}

/** Make the tabs show one section at a time. The address of the page keeps its name. :param first: the section to show if the address names none */
export function tabs(first = "") {
  select("nav").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { history.replaceState(null, "", `#${button.dataset.tab}`); choose(button.dataset.tab); }
  });
  if (first) choose(location.hash.slice(1) || first);
}
