// Draws /status and the newest rows of the ledger, every five seconds.
import { amount, decisions, redrawer, element, fill, live, newest, select, table, tabs, waiting, when } from "./draw.js";
import { schedule } from "./schedule.js";

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

function quarantined(row) {
  const whole = `/api/v1/quarantine/${row.id}`;
  const about = [when(row.received_at, true), `from ${row.source}`, `${row.size.toLocaleString("en")} bytes`, ...(row.content_encoding ? [`compressed with ${row.content_encoding}`] : [])];
  const words = [row.cut ? "How the body begins" : "The body", ...(row.body_is === "text" ? [] : [`, which is not text, as ${row.body_is}`])].join("");
  return element("article", { class: "card wide" }, element("p", { class: "meta" }, about.join(" · ")), element("h3", {}, row.reason),
    element("details", {}, element("summary", {}, words), element("pre", {}, row.body || "(it is empty)")),
    element("p", { class: "meta" }, element("a", { href: whole, download: "" }, "Save the original bytes")));
}

let timetables = [];
let asked = -Infinity;
/** Return the next days of each interval. They only change with the day and the rules, so they are loaded at most once a minute. */
async function upcoming() {
  if (performance.now() - asked >= 60000) {
    timetables = await ask("/api/v1/schedule");
    asked = performance.now();
  }
  return timetables;
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
  const [hours, status, held, made, bodies] = await Promise.all([upcoming(),
    ask("/status"), ...["waiting", "decisions", "quarantine"].map(list)]);
  const counts = Object.entries(status.ledger.fates).filter(([, count]) => count).map(([fate, count]) => `${count} ${fate}`);
  select("#summary").textContent = `${status.ledger.firing} firing · ${counts.join(", ") || "nothing yet"}${status.ledger.imbalance ? " · THE LEDGER DOES NOT BALANCE" : ""}`;
  select("#config").replaceChildren(...config(status.config, status.store));
  const due = status.lanes.reduce((sum, lane) => sum + lane.backlog, 0);
  fill("lanes", [status.lanes, status.ledger.deliveries], () => [lanes(status.lanes, status.ledger)], "", due && backlog(due, status.lanes.some((lane) => lane.backlog_more)));
  section("waiting", held, (rows) => (rows.length ? [waiting(rows)] : []), "Every firing alert was sent to its destinations.");
  fill("schedule", hours, () => schedule(hours), "There are no time intervals in routes.yaml.", 0);
  section("decisions", made, (rows) => (rows.length ? [decisions(rows)] : []), "No alert yet.", false);
  section("quarantine", bodies, (rows) => rows.map(quarantined), "Nothing is in quarantine.");
  live(true);
}

tabs("lanes");
const redraw = redrawer(draw, live);
redraw();
setInterval(redraw, 5000);
