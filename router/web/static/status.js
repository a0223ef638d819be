// Draws /status and the newest rows of the ledger, every five seconds.
import { amount, decisions, redrawer, element, fill, live, newest, select, table, tabs, waiting, when } from "./draw.js";

async function ask(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

/** Return the newest rows of a list, and the number of all its rows. */
async function list(name) {
  const answer = await fetch(`/api/v1/${name}`);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return { rows: await answer.json(), total: answer.headers.get("X-Total-Count") };
}

/** Draw a list. :param badge: whether its tab has the total */
function section(id, { rows, total }, make, nothing, badge = true) {
  fill(id, [rows, total], () => newest(rows, total, make(rows)), nothing, badge && rows.length ? amount(total) : 0);
}

function backlog(count, more) {
  return `${count.toLocaleString("en")}${more ? "+" : ""}`;
}

function lanes(rows, ledger) {
  return table(["Destination", "Due now", "Oldest since", "All sent by", "Rate", "Delivered", "Failed attempts", "State"], rows.map((row) => {
    const attempts = ledger.deliveries[row.destination] ?? {};
    const state = row.broken_since ? `BROKEN since ${when(row.broken_since, true)}: ${row.broken_reason}; correct it, then run: alert-router deliveries resume ${row.destination}` : row.paused_until ? `paused until ${when(row.paused_until)}: ${row.pause_reason}` : row.alive ? "running" : "ended";
    return [row.destination, backlog(row.backlog, row.backlog_more), row.oldest_at ? when(row.oldest_at, true) : "", row.empty_at && !row.broken_since ? when(row.empty_at, true) : "", row.rate ?? "no limit", String(attempts.delivered ?? 0),
      String((attempts.retry ?? 0) + (attempts.broken ?? 0) + (attempts.rejected ?? 0)), state];
  }));
}

function deliveries(rows) {
  return table(["When", "Destination", "Attempt", "Outcome", "Reason"], rows.map((row) => [
    when(row.started_at, true), row.destination, String(row.attempt), element("span", { class: `tag ${row.outcome ?? "pending"}` }, row.outcome ?? "under way"), [row.reason, row.words].filter(Boolean).join(": ")]));
}

function dead(rows) {
  return table(["No.", "Given up", "Destination", "Why", "Not notified"], rows.map((row) => [
    String(row.id), when(row.at, true), [row.destination, row.recipient].filter(Boolean).join(": "), row.reason,
    row.alerts.map((each) => `${each.labels.alertname ?? "alert"} ${each.unnotified} (${each.status} now)`).join(", ")]));
}

}

/** Return notices about the database, and about rules files that can't be used. */
function config(loading, store) {
  const broken = loading.fragments.filter((each) => each.problems.length);
  return [
    ...(store.trouble ? [notice("The database can't be written: webhooks are refused, and nothing is sent.", store.trouble)] : []),
    ...(loading.error ? [notice(`${loading.file} can't be used; the rules of ${when(loading.loaded_at, true)} stay in force.`, loading.error)] : []),
    ...broken.map((each) => notice(`${each.file}: ${each.state}.`, each.problems.join("\n"))),
  ];
}

function notice(words, details) {
  return element("div", { class: "notice" }, element("strong", {}, words), element("pre", {}, details));
}

async function draw() {
  const counts = Object.entries(status.ledger.fates).filter(([, count]) => count).map(([fate, count]) => `${count} ${fate}`);
  select("#summary").textContent = `${status.ledger.firing} firing · ${counts.join(", ") || "nothing yet"}${status.ledger.imbalance ? " · THE LEDGER DOES NOT BALANCE" : ""}`;
  select("#config").replaceChildren(...config(status.config, status.store));
  const due = status.lanes.reduce((sum, lane) => sum + lane.backlog, 0);
  fill("lanes", [status.lanes, status.ledger.deliveries], () => [lanes(status.lanes, status.ledger)], "", due && backlog(due, status.lanes.some((lane) => lane.backlog_more)));
  section("waiting", held, (rows) => (rows.length ? [waiting(rows)] : []), "Every firing alert was sent to its destinations.");
  section("decisions", made, (rows) => (rows.length ? [decisions(rows)] : []), "No alert yet.", false);
  section("deliveries", attempts, (rows) => (rows.length ? [deliveries(rows)] : []), "No delivery yet.", false);
  section("dead", letters, (rows) => (rows.length ? [element("p", {}, "To try one again: alert-router deliveries retry NO. To give it up for good: alert-router deliveries discard NO."), dead(rows)] : []), "No dead letter.");
  live(true);
}

tabs("lanes");
const redraw = redrawer(draw, live);
redraw();
setInterval(redraw, 5000);
