// Draws the next days of each time interval to scale: a day of 23 or 25 hours is shorter or longer than the others.
// Local times come from the router, because the time zones of the browser may be out of date.
import { element } from "./draw.js";

const length = (day) => day.ends_at - day.starts_at;
const within = (day, now) => day.starts_at <= now && now < day.ends_at;
const short = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const percent = (part, whole) => `${(part / whole) * 100}%`;

/** Put a node into a day, from one instant to another. */
function placed(node, day, from, to = from) {
  node.style.setProperty("left", percent(from - day.starts_at, length(day)));
  if (to > from) node.style.setProperty("width", percent(to - from, length(day)));
  return node;
}

/** Return a strip whose width shows the length of the day; a day of length `longest` fills the column. */
function strip(kind, day, longest, nodes) {
  const node = element("div", { class: kind }, ...nodes);
  node.style.setProperty("width", percent(length(day), longest));
  return node;
}

function ruler(day, longest) {
  return strip("ruler", day, longest, day.ruler.map(([at, hour]) => placed(element("span", {}, hour), day, at)));
}

function hours(day, longest, now) {
  const lines = day.ruler.map(([at]) => placed(element("i", { "aria-hidden": "true" }), day, at));
  const spans = day.open.map(([from, to], index) => {
    const words = `open ${day.open_local[index].join(" to ")}`;
    return placed(element("span", { role: "img", "aria-label": words, title: words }), day, from, to);
  });
  const present = within(day, now) ? [placed(element("b", { role: "img", "aria-label": "now", title: "now" }), day, now)] : [];
  return strip("hours", day, longest, [...lines, ...spans, ...present]);
}

function row(day, longest, now) {
  const today = within(day, now);
  const words = day.open_local.map((span) => span.join("–")).join(", ") || "closed";
  const notes = [day.holiday, day.clock].filter(Boolean).map((note) => element("span", { class: "note" }, note));
  return element("tr", today ? { "aria-current": "date" } : {},
    element("th", { scope: "row" }, `${day.weekday} ${short.format(new Date(day.date))}`, today ? element("small", {}, "today") : ""),
    element("td", {}, day.clock ? ruler(day, longest) : "", hours(day, longest, now)),
    element("td", {}, words, ...notes));
}

function timetable({ name, zone, other_zones: others, now, days }) {
  const longest = Math.max(...days.map(length));
  const usual = days.find((day) => !day.clock) ?? days[0];
  const about = [`days of ${zone}`, ...(others.length ? [`it also has hours of ${others.join(" and ")}`] : []),
    ...(days.some((day) => day.open.length) ? [] : [`never open in these ${days.length} days`])];
  return element("article", { class: "card wide" }, element("h3", {}, name), element("p", { class: "meta" }, about.join(" · ")),
    element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Day"), element("th", {}, ruler(usual, longest)), element("th", { scope: "col" }, "Open"))),
      element("tbody", {}, ...days.map((day) => row(day, longest, now)))));
}

/** Return nodes that show the answer of /api/v1/schedule: one for each interval, and a legend. */
export function schedule(data) {
  const signs = [["span", "open"], ["u", "closed"], ["b", "now"]].map(([tag, meaning]) =>
    element("span", {}, element("span", { class: "sign hours", "aria-hidden": "true" }, element(tag)), meaning));
  const legend = element("p", { class: "meta legend" }, ...signs, element("span", {}, "a shorter or longer bar: the clocks change"));
  return data.length ? [...data.map(timetable), legend] : [];
}
