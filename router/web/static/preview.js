// Draws /preview/state, and again whenever /preview/events says so.
import { discord, mail, pagerduty, slack, webhook } from "./cards.js";
import { $, amount, choose, decisions, drawer, el, fill, live, newest, tabs, time, waiting, when } from "./draw.js";

const CARDS = { slack, pagerduty, discord, webhook, email: (entry) => mail(entry, `/preview/mail/${entry.id}`) };
const NOTHING = {
  slack: "No Slack message yet.", pagerduty: "Nobody was paged yet.", discord: "No Discord message yet.",
  webhook: "No webhook was posted yet.", email: "No email yet.",
};
const HOUR = 3600000;

function keyed(entry, node) {
  node.querySelectorAll("details").forEach((each, index) => { each.dataset.key = `${entry.channel}-${entry.destination}-${entry.id}-${index}`; });
  return node;
}

function clock(state) {
  $("#clock time").textContent = `It is ${when(state.now, true)} in this preview (${time.zone})`;
  const jumps = state.movable ? [...state.jumps, { label: "+ 1 h", at: state.now + HOUR }] : [];
  $("#jumps").replaceChildren(...jumps.map((jump, index) => {
    const button = el("button", {}, index < state.jumps.length ? `⏭ ${jump.label}, ${when(jump.at)}` : jump.label);
    button.addEventListener("click", async () => {
      for (const each of $("#jumps").children) each.disabled = true;
      await fetch("/preview/clock", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ to: jump.at }) });
    });
    return button;
  }));
}

/** A tab for each channel that somebody is told by. */
function channels(used) {
  for (const name of Object.keys({ ...CARDS, digest: null })) $(`[data-tab="${name}"]`).hidden = !used.includes(name);
  if ($('nav [aria-pressed="true"]').hidden) choose($("nav button:not([hidden])").dataset.tab);
}

async function draw() {
  const state = await (await fetch("/preview/state")).json();
  time.zone = state.zone;
  clock(state);
  channels(state.channels);
  const of = (channel) => state.entries.filter((entry) => entry.channel === channel);
  for (const [name, card] of Object.entries(CARDS)) fill(name, of(name), () => of(name).map((entry) => keyed(entry, card(entry))), NOTHING[name]);
  const sent = of("digest");
  fill("digest", [sent, state.digests.map((entry) => [entry.destination, entry.body.text])], () => [
    ...sent.map((entry) => el("div", {}, el("p", { class: "meta" }, "Sent"), keyed(entry, mail(entry, `/preview/mail/${entry.id}`)))),
    ...state.digests.map((entry, number) => el("div", {}, el("p", { class: "meta" }, "As it would go out now"), keyed({ ...entry, id: `now${number}` }, mail(entry, `/preview/digest/${number}`)))),
  ], "There is no digest in routes.yaml.", sent.length);
  const { waiting: held, decisions: made, totals } = state;
  fill("waiting", [held, totals.waiting], () => newest(held, totals.waiting, held.length ? [waiting(held)] : []), "Everything that fires has been told to everybody who is to know.", held.length ? amount(totals.waiting) : 0);
  fill("decisions", [made, totals.decisions], () => newest(made, totals.decisions, made.length ? [decisions(made)] : []), "No alert yet.", 0);
}

tabs("slack");
const redraw = drawer(draw, live);
const events = new EventSource("/preview/events");
events.onopen = () => live(true);
events.onerror = () => live(false);
events.onmessage = () => { redraw(); setTimeout(redraw, 500); }; // a message is recorded a moment after it is shown
setInterval(redraw, 5000); // what waits changes with the clock, too
