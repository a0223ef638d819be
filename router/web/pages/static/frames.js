// Makes the frame of a message as high as the message. Without this script, the frame scrolls.

function fit(frame) {
  const page = frame.contentDocument?.documentElement;
  if (!page) return;
  frame.style.setProperty("height", "0"); // a document is never lower than its frame
  frame.style.setProperty("height", `${page.scrollHeight + 2}px`);
}

function watch() {
  for (const frame of document.querySelectorAll("iframe.fit:not([data-watched])")) {
    frame.dataset.watched = "";
    frame.addEventListener("load", () => fit(frame));
    if (frame.contentDocument?.readyState === "complete") fit(frame);
  }
}

watch();
addEventListener("resize", () => document.querySelectorAll("iframe.fit").forEach(fit));
document.addEventListener("refreshed", watch);
