// Draws each message as its reader sees it.
import { el, link, when } from "./draw.js";
import { discordMarkdown, mrkdwn } from "./markup.js";

function meta(entry, ...more) {
  return el("p", { class: "meta" }, [when(entry.at, true), ...more].join(" · "));
}

function edited(entry) {
  return entry.edits ? [`edited ${entry.edits}×, last ${when(entry.updated_at)}`] : [];
}

/** A coloured bar beside what it holds. */
function barred(color, nodes) {
  const bar = el("div", { class: "bar" }, ...nodes);
  if (/^#[0-9a-f]{6}$/i.test(color)) bar.style.setProperty("--bar", color);
  return bar;
}

function json(title, value) {
  return el("details", {}, el("summary", {}, title), el("pre", {}, JSON.stringify(value, null, 2)));
}

function slackText(text) {
  return text.type === "mrkdwn" ? mrkdwn(text.text) : [text.text];
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

export function slack(entry) {
  const card = el("article", { class: "card" }, meta(entry, `#${entry.body.channel ?? entry.destination.slice(6)}`, ...edited(entry)));
  const attachments = entry.body.attachments ?? [];
  if (!attachments.length) card.append(el("p", { class: "text" }, ...mrkdwn(entry.body.text)));
  for (const block of entry.body.blocks ?? []) card.append(slackBlock(block));
  for (const attachment of attachments) card.append(barred(attachment.color ?? "", (attachment.blocks ?? []).map(slackBlock)));
  const numbered = (entry.body.parts ?? []).map((part) => ({ at: entry.updated_at, text: part.blocks.map((block) => block.text.text).join("\n") }));
  const replies = [...entry.replies, ...numbered];
  if (replies.length) {
    card.append(el("div", { class: "thread" }, el("p", { class: "quiet" }, `${replies.length} ${replies.length === 1 ? "reply" : "replies"} in the thread`),
      ...replies.map((reply) => el("p", {}, el("span", { class: "quiet" }, `${when(reply.at)}  `), ...mrkdwn(reply.text)))));
  }
  return card;
}

function discordEmbed(embed) {
  const fields = (embed.fields ?? []).map((field) => el("div", { class: "text" }, el("strong", {}, field.name), el("br"), ...discordMarkdown(field.value)));
  return barred(`#${(embed.color ?? 0).toString(16).padStart(6, "0")}`, [
    el("h2", {}, ...discordMarkdown(embed.title ?? "")),
    el("p", {}, ...discordMarkdown(embed.description ?? "")),
    ...(fields.length ? [el("div", { class: "fields" }, ...fields)] : []),
    ...(embed.footer ? [el("p", { class: "quiet" }, embed.footer.text)] : []),
  ]);
}

export function discord(entry) {
  return el("article", { class: "card" }, meta(entry, entry.destination, ...edited(entry)),
    ...entry.body.messages.flatMap((message) => [
      ...(message.content ? [el("p", { class: "text" }, ...discordMarkdown(message.content))] : []),
      ...message.embeds.map(discordEmbed)]));
}

export function pagerduty(entry) {
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

/** Its reader is a program: each request, the newest first. */
export function webhook(entry) {
  const requests = [{ at: entry.updated_at, body: entry.body }, ...entry.replies.toReversed()];
  const card = el("article", { class: "card" }, meta(entry, entry.destination, `${requests.length} request${requests.length > 1 ? "s" : ""}`));
  requests.forEach((request, index) => {
    const { status, alerts } = request.body;
    const about = `${when(request.at)} · POST · ${alerts.length} alert${alerts.length === 1 ? "" : "s"}`;
    const text = JSON.stringify(request.body, null, 2);
    card.append(el("h3", {}, el("span", { class: `tag ${status}` }, status), about),
      index ? el("details", {}, el("summary", {}, "The body"), el("pre", {}, text)) : el("pre", {}, text));
  });
  return card;
}

/** :param address: where its HTML is; it is shown in a frame without scripts */
export function mail(entry, address) {
  const body = entry.body;
  const card = el("article", { class: "card" }, meta(entry, `to ${body.to.join(", ")}`), el("h3", {}, body.subject));
  if (!entry.has_html) {
    card.append(el("pre", {}, body.text));
    return card;
  }
  const frame = el("iframe", { src: address, sandbox: "allow-same-origin", loading: "lazy", title: body.subject });
  frame.addEventListener("load", () => {
    frame.style.setProperty("height", "0"); // a document is never lower than its frame
    frame.style.setProperty("height", `${frame.contentDocument.documentElement.scrollHeight + 2}px`);
  });
  card.append(frame, el("details", {}, el("summary", {}, "As plain text"), el("pre", {}, body.text)));
  return card;
}
