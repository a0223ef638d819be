// Draws /preview/state, and again whenever /preview/events says so. Text is only ever set as text.
import { mrkdwn } from "./mrkdwn.js";

const $ = (selector) => document.querySelector(selector);
let zone = "UTC";

/** An element with attributes and children; strings become text nodes. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function when(at, full = false) {
  const options = { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false };
  if (full) Object.assign(options, { day: "numeric", month: "short" });
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(at));
}

function link(text, href) {
  const safe = /^https?:\/\//i.test(href) ? href : "#";
  return el("a", { href: safe, rel: "noopener noreferrer", target: "_blank" }, text);
}

function slackText(text) {
  return text.type === "mrkdwn" ? mrkdwn(text.text, el, link) : [text.text];
}

function slackBlock(block) {
  switch (block.type) {
    case "header": return el("h2", {}, ...slackText(block.text));
    case "section": {
      const parts = [];
      if (block.text) parts.push(el("p", {}, ...slackText(block.text)));
      if (block.fields) parts.push(el("div", { class: "fields" }, ...block.fields.map((field) => el("div", { class: "text" }, ...slackText(field)))));
      return el("div", {}, ...parts);
    }
    case "context": return el("p", { class: "quiet" }, ...block.elements.flatMap(slackText));
    case "actions": return el("div", { class: "links" }, ...block.elements.map((button) => link(button.text.text, button.url)));
    case "divider": return el("hr");
    default: return el("p", { class: "quiet" }, `(${block.type})`);
  }
}

function meta(entry, ...more) {
  return el("p", { class: "meta" }, [when(entry.at, true), ...more].join(" · "));
}

function slack(entry) {
  const card = el("article", { class: "card" }, meta(entry, `#${entry.body.channel ?? entry.destination.slice(6)}`, ...(entry.edits ? [`edited ${entry.edits}×, last ${when(entry.updated_at)}`] : [])));
  const attachments = entry.body.attachments ?? [];
  if (!attachments.length) card.append(el("p", { class: "text" }, ...mrkdwn(entry.body.text, el, link)));
  for (const block of entry.body.blocks ?? []) card.append(slackBlock(block));
  for (const attachment of attachments) {
    const bar = el("div", { class: "bar" }, ...(attachment.blocks ?? []).map(slackBlock));
    if (/^#[0-9a-f]{6}$/i.test(attachment.color ?? "")) bar.style.setProperty("--bar", attachment.color);
    card.append(bar);
  }
  if (entry.replies.length) {
    card.append(el("div", { class: "thread" }, el("p", { class: "quiet" }, `${entry.replies.length} ${entry.replies.length === 1 ? "reply" : "replies"} in the thread`),
      ...entry.replies.map((reply) => el("p", {}, el("span", { class: "quiet" }, `${when(reply.at)}  `), ...mrkdwn(reply.text, el, link)))));
  }
  return card;
}

function json(title, value) {
  return el("details", {}, el("summary", {}, title), el("pre", {}, JSON.stringify(value, null, 2)));
}

function pagerduty(entry) {
  const events = [...entry.replies.map((reply) => reply.body), entry.body];
  const last = events.findLast((event) => event.payload) ?? entry.body;
  const state = entry.body.event_action === "resolve" ? "resolved" : "triggered";
  const card = el("article", { class: "card" }, meta(entry, entry.destination, `${events.length} event${events.length > 1 ? "s" : ""}`),
    el("h3", {}, el("span", { class: `tag ${state}` }, state), last.payload?.summary ?? "resolved"));
  if (last.payload) {
    card.append(el("p", { class: "meta" }, `severity ${last.payload.severity} · source ${last.payload.source} · dedup key ${entry.body.dedup_key.slice(0, 12)}…`));
    if (last.links?.length) card.append(el("div", { class: "links" }, ...last.links.map((each) => link(each.text, each.href))));
    if (last.payload.custom_details) card.append(json("Details", last.payload.custom_details));
  }
  card.append(json("Events as sent", events));
  return card;
}

function mail(entry, address) {
  const body = entry.body;
  const card = el("article", { class: "card" }, meta(entry, `to ${body.to.join(", ")}`), el("h3", {}, body.subject));
  const html = el("details", {}, el("summary", {}, "Read"));
  html.addEventListener("toggle", () => {
    if (html.open && !html.querySelector("iframe")) html.append(el("iframe", { src: address, sandbox: "", title: body.subject }));
  });
  card.append(html, el("details", {}, el("summary", {}, "As plain text"), el("pre", {}, body.text)));
  return card;
}

function open(details) {
  details.querySelector("details").open = true;
  return details;
}

function name(labels) {
  const rest = Object.entries(labels).filter(([key]) => key !== "alertname" && key !== "severity");
  return [el("strong", {}, labels.alertname ?? "(no name)"), " ", el("span", { class: "quiet" }, rest.map(([key, value]) => `${key}=${value}`).join(" "))];
}

function table(heads, rows) {
  return el("div", { class: "card wide scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", {}, head)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, ...[cell].flat())))))));
}

function waiting(rows) {
  return table(["Alert", "Where", "Why", "Until"], rows.map((row) => [
    [el("span", { class: `tag ${row.level}` }, row.level), ...name(row.labels)], row.destination,
    [el("span", { class: `tag ${row.fate}` }, row.fate), row.reason], row.until ? when(row.until, true) : "its inhibitor ends"]));
}

function decided(rows) {
  return table(["When", "Change", "Alert", "Destination", "Fate", "Rule"], rows.map((row) => [
    when(row.at), row.kind, name(row.labels), row.destination, [el("span", { class: `tag ${row.fate}` }, row.fate), row.reason], el("code", {}, row.rule)]));
}

const drawn = {};
/** Draw a section anew if what it shows has changed; what was opened stays open. */
function fill(id, shown, make, nothing, count = shown.length) {
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

function keyed(entry, node) {
  node.querySelectorAll("details").forEach((each, index) => { each.dataset.key = `${entry.channel}-${entry.destination}-${entry.id}-${index}`; });
  return node;
}

function clock(state) {
  $("#clock time").textContent = `It is ${when(state.now, true)} in this preview (${zone})`;
  const jumps = state.movable ? [...state.jumps, { label: "one hour", at: state.now + 3600000 }] : [];
  $("#jumps").replaceChildren(...jumps.map((jump) => {
    const button = el("button", {}, jump.label === "one hour" ? "+ 1 h" : `⏭ ${jump.label}, ${when(jump.at)}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      await fetch("/preview/clock", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ to: jump.at }) });
    });
    return button;
  }));
}

async function draw() {
  const state = await (await fetch("/preview/state")).json();
  zone = state.zone;
  clock(state);
  const of = (channel) => state.entries.filter((entry) => entry.channel === channel);
  const each = (entries, card) => () => entries.map((entry) => keyed(entry, card(entry)));
  fill("slack", of("slack"), each(of("slack"), slack), "No Slack message yet.");
  fill("pagerduty", of("pagerduty"), each(of("pagerduty"), pagerduty), "Nobody was paged yet.");
  fill("email", of("email"), each(of("email"), (entry) => mail(entry, `/preview/mail/${entry.id}`)), "No email yet.");
  const sent = of("digest");
  fill("digest", [sent, state.digests.map((entry) => [entry.destination, entry.body.text])], () => [
    ...sent.map((entry) => el("div", {}, el("p", { class: "meta" }, "Sent"), keyed(entry, mail(entry, `/preview/mail/${entry.id}`)))),
    ...state.digests.map((entry, number) => el("div", {}, el("p", { class: "meta" }, "As it would go out now"), keyed({ ...entry, id: `now${number}` }, open(mail(entry, `/preview/digest/${number}`))))),
  ], "There is no digest in routes.yaml.", sent.length);
  fill("waiting", state.waiting, () => (state.waiting.length ? [waiting(state.waiting)] : []), "Everything that fires has been told to everybody who is to know.");
  fill("decided", state.decided, () => (state.decided.length ? [decided(state.decided)] : []), "No alert yet.", 0);
}

let drawing = null;
let again = false;
function redraw() {
  if (drawing) { again = true; return; }
  drawing = draw().catch(() => live(false)).finally(() => { drawing = null; if (again) { again = false; redraw(); } });
}

function live(on) {
  $("#live").textContent = on ? "live" : "connection lost, trying again …";
  $("#live").className = on ? "on" : "off";
}

function show(tab) {
  for (const button of document.querySelectorAll("nav button")) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
  for (const section of document.querySelectorAll("main section")) section.classList.toggle("shown", section.id === tab);
}

document.querySelector("nav").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) { history.replaceState(null, "", `#${button.dataset.tab}`); show(button.dataset.tab); }
});
show(document.getElementById(location.hash.slice(1))?.tagName === "SECTION" ? location.hash.slice(1) : "slack");
const events = new EventSource("/preview/events");
events.onopen = () => live(true);
events.onerror = () => live(false);
events.onmessage = redraw;
setInterval(redraw, 5000); // what waits changes with the clock, too
