// Shows /preview/state, and loads it again at each event of /preview/events. The server draws the messages.
import { amount, choose, decisions, element, fill, live, newest, redrawer, select, tabs, time, waiting, when } from "./draw.js";

const HOUR = 3600000;
const REDRAW_AFTER = 500; // milliseconds: a message is recorded a moment after the page gets it
const REDRAW_EVERY = 5000; // milliseconds: the waiting list also changes as time passes

/** Return the HTML that the server drew for an entry, as a node. The server has escaped everything in it. */
function card(entry) {
  const template = document.createElement("template");
  template.innerHTML = entry.card;
  const node = template.content.firstElementChild;
  node.querySelectorAll("details").forEach((each, index) => { each.dataset.key = `${entry.channel}-${entry.destination}-${entry.id}-${index}`; });
  node.querySelectorAll("iframe").forEach((frame) => frame.addEventListener("load", () => fitHeight(frame)));
  return node;
}

/** Make a frame as high as its document. */
function fitHeight(frame) {
  frame.style.setProperty("height", "0"); // a document is never lower than its frame
  frame.style.setProperty("height", `${frame.contentDocument.documentElement.scrollHeight + 2}px`);
}

function showClock(state) {
  select("#clock time").textContent = `It is ${when(state.now, true)} in this preview (${time.zone})`;
  const jumps = state.movable ? [...state.jumps, { label: "+ 1 h", at: state.now + HOUR }] : [];
  select("#jumps").replaceChildren(...jumps.map((jump, index) => {
    const button = element("button", {}, index < state.jumps.length ? `⏭ ${jump.label}, ${when(jump.at)}` : jump.label);
    button.addEventListener("click", async () => {
      for (const each of select("#jumps").children) each.disabled = true;
      await fetch("/preview/clock", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ to: jump.at }) });
    });
    return button;
  }));
}

/** Show a tab for each channel that has a destination, before the tabs that every preview has. */
function showTabs(state) {
  for (const { name, title } of state.tabs) {
    if (select(`[data-tab="${name}"]`)) continue;
    select("nav").insertBefore(element("button", { "data-tab": name, "aria-pressed": "false" }, `${title} `, element("span")), select('[data-tab="waiting"]'));
    select("main").insertBefore(element("section", { id: name, class: "messages", "aria-label": title }), select("#waiting"));
  }
  const used = state.tabs.map((tab) => tab.name);
  for (const section of document.querySelectorAll("main section.messages")) select(`[data-tab="${section.id}"]`).hidden = !used.includes(section.id);
  const chosen = select('nav [aria-pressed="true"]');
  if (!chosen || chosen.hidden) choose(location.hash.slice(1));
}

function showMessages(state) {
  for (const { name, nothing_sent: nothing } of state.tabs) {
    const sent = state.entries.filter((entry) => entry.channel === name);
    const drafts = state.digests.filter((entry) => entry.channel === name).map((entry, number) => ({ ...entry, id: `draft${number}` }));
    fill(name, [sent, drafts].flat().map((entry) => [entry.id, entry.card]), () => [...sent, ...drafts].map(card), nothing, sent.length);
  }
}

async function draw() {
  const state = await (await fetch("/preview/state")).json();
  time.zone = state.zone;
  showClock(state);
  showTabs(state);
  showMessages(state);
  const { waiting: held, decisions: made, totals } = state;
  fill("waiting", [held, totals.waiting], () => newest(held, totals.waiting, held.length ? [waiting(held)] : []), "Every firing alert was sent to its destinations.", held.length ? amount(totals.waiting) : 0);
  fill("decisions", [made, totals.decisions], () => newest(made, totals.decisions, made.length ? [decisions(made)] : []), "No alert yet.", 0);
}

tabs();
const redraw = redrawer(draw, live);
const events = new EventSource("/preview/events");
events.onopen = () => live(true);
events.onerror = () => live(false);
events.onmessage = () => { redraw(); setTimeout(redraw, REDRAW_AFTER); };
setInterval(redraw, REDRAW_EVERY);
