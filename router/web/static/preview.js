// Draws /preview/state, and again whenever /preview/events says so.
import { $, decided, drawer, el, fill, link, live, tabs, time, waiting, when } from "./draw.js";
import { mrkdwn } from "./mrkdwn.js";

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
  const numbered = (entry.body.parts ?? []).map((part) => ({ at: entry.updated_at, text: part.blocks.map((block) => block.text.text).join("\n") }));
  const replies = [...entry.replies, ...numbered];
  if (replies.length) {
    card.append(el("div", { class: "thread" }, el("p", { class: "quiet" }, `${replies.length} ${replies.length === 1 ? "reply" : "replies"} in the thread`),
      ...replies.map((reply) => el("p", {}, el("span", { class: "quiet" }, `${when(reply.at)}  `), ...mrkdwn(reply.text, el, link)))));
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

function keyed(entry, node) {
  node.querySelectorAll("details").forEach((each, index) => { each.dataset.key = `${entry.channel}-${entry.destination}-${entry.id}-${index}`; });
  return node;
}

function clock(state) {
  $("#clock time").textContent = `It is ${when(state.now, true)} in this preview (${time.zone})`;
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
  time.zone = state.zone;
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

tabs("slack");
const redraw = drawer(draw, live);
const events = new EventSource("/preview/events");
events.onopen = () => live(true);
events.onerror = () => live(false);
events.onmessage = redraw;
setInterval(redraw, 5000); // what waits changes with the clock, too
