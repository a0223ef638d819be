// Refreshes the page when the server says that something changed, without losing focus, selection, open details or typed text.
// It loads the page's own address again, and changes only the elements that differ.

const REFRESH_EVERY = 30000; // milliseconds: relative times change also when nothing happens
let loading = false;
let again = false;

/** Return whether the user is busy with an element: typing in it, or selecting text in it. */
function isBusy(element) {
  const active = document.activeElement;
  if (element.matches("input, select, textarea") && (element === active || element.value !== element.defaultValue)) return true;
  const selection = getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(element) && element.children.length === 0;
}

function isSame(before, after) {
  if (before.nodeType !== after.nodeType) return false;
  if (before.nodeType !== Node.ELEMENT_NODE) return true;
  return before.tagName === after.tagName && before.id === after.id;
}

/** Change a node into another one, in place. */
function morph(before, after) {
  if (before.nodeType !== Node.ELEMENT_NODE) {
    if (before.nodeValue !== after.nodeValue && !(before.parentElement && isBusy(before.parentElement))) before.nodeValue = after.nodeValue;
    return;
  }
  if (before.dataset.keep !== undefined || (before.matches("input, select, textarea") && isBusy(before)) || before.isEqualNode(after)) return;
  for (const { name } of [...before.attributes]) {
    if (!after.hasAttribute(name) && !(name === "open" && before.tagName === "DETAILS")) before.removeAttribute(name);
  }
  for (const { name, value } of after.attributes) {
    if (before.getAttribute(name) !== value && !(name === "src" && before.tagName === "IFRAME")) before.setAttribute(name, value);
  }
  morphChildren(before, after);
}

function morphChildren(before, after) {
  const byId = new Map([...before.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = before.firstChild;
  for (const wanted of [...after.childNodes]) {
    const kept = wanted.id ? byId.get(wanted.id) : null;
    if (kept && kept !== at && kept.tagName === wanted.tagName) {
      before.insertBefore(kept, at);
      morph(kept, wanted);
    } else if (at && isSame(at, wanted)) {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    } else {
      before.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

async function refresh() {
  if (document.hidden) return;
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const live = document.querySelector("#live").className;
      page.querySelector("#live").className = live;
      document.title = page.title;
      for (const selector of ["header", "main"]) morph(document.querySelector(selector), page.querySelector(selector));
      document.dispatchEvent(new Event("refreshed"));
    }
  } catch {
    // The stream of events says whether the router answers.
  }
  loading = false;
  if (again) {
    again = false;
    await refresh();
  }
}

function show(state) {
  const live = document.querySelector("#live");
  live.className = state;
}

const events = new EventSource("/events");
events.addEventListener("open", () => show("on"));
events.addEventListener("error", () => show("off"));
events.addEventListener("message", refresh);
setInterval(refresh, REFRESH_EVERY);
document.addEventListener("visibilitychange", refresh);
