// What the user does: the server's forms and buttons, by htmx. A form that comes back is shown where it was; a
// confirmation is said, and the page looks again.

import { toast, tell } from "./notices.js";
import { csrf, forget, renew } from "./session.js";

const panel = document.getElementById("panel");
const body = document.getElementById("panel-body");
const question = document.getElementById("question");

/** Opens one of the server's forms in the side panel. */
export function openPanel(title, url, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  document.getElementById("panel-title").textContent = title;
  body.replaceChildren(Object.assign(document.createElement("div"), { className: "skeleton" }));
  if (!panel.open) panel.showModal();
  htmx.ajax("GET", query.size ? `${url}?${query}` : url, { source: body, target: body });
}

/** Does something with a row: its answer is said, or shown in the panel when it asks back. */
export async function act(button, url) {
  button.disabled = true;
  // Its own element: rows are drawn anew while the answer is awaited.
  const source = document.body.appendChild(Object.assign(document.createElement("span"), { hidden: true }));
  try {
    await htmx.ajax("POST", url, { source, target: body });
  } finally {
    source.remove();
    button.disabled = false;
  }
}

/** Resolves to whether the user said yes. */
export function ask(text, yes) {
  document.getElementById("question-text").textContent = text;
  document.getElementById("question-yes").textContent = yes;
  question.returnValue = "no";
  question.showModal();
  return new Promise((resolve) => {
    question.addEventListener("close", () => resolve(question.returnValue === "yes"), { once: true });
  });
}

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  if (ctx.request.method !== "GET") ctx.request.headers["X-CSRFToken"] = csrf();
});

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const { status } = ctx.response;
  if (ctx.hx.redirect) return;
  if (status === 403) {
    // Perhaps the log-in of another tab: asking for a token finds out, and loads the page anew.
    forget();
    renew().catch(() => {});
  }
  const answer = new DOMParser().parseFromString(ctx.text, "text/html");
  if (status < 500 && answer.querySelector("form")) {
    if (body.contains(ctx.target) && !panel.open) panel.showModal();
    const note = answer.querySelector(".note");
    if (note && status < 400) tell(note.textContent);
    return;
  }
  event.preventDefault();
  const good = status < 400 && !answer.querySelector(".note.bad");
  say(good, textOf(answer, ctx.text, status));
  if (good && panel.contains(ctx.sourceElement)) panel.close();
});

document.addEventListener("htmx:error", ({ detail: { error } }) => {
  say(false, error?.name === "TypeError" || error?.name === "AbortError"
    ? "The server didn't answer. Look whether it was done before you try again." : `Something went wrong: ${error?.message ?? "unknown"}`);
});

document.addEventListener("htmx:after:swap", () => {
  if (!panel.open || body.contains(document.activeElement)) return;
  (body.querySelector("[aria-invalid='true']") ?? body.querySelector("input:not([type='hidden']), select, textarea, button"))?.focus();
});

function textOf(answer, text, status) {
  try { return JSON.parse(text).error.message; } catch { /* no error of the API */ }
  const said = (answer.querySelector(".note") ?? answer.body).textContent.trim();
  return said && said.length < 400 ? said : `The server answered ${status}.`;
}

function say(good, text) {
  toast(good ? "good" : "bad", text);
}

document.addEventListener("click", ({ target }) => {
  const opener = target.closest("[data-panel]");
  if (opener) openPanel(opener.dataset.title, opener.dataset.panel);
  if (target.closest("[data-close]")) panel.close();
  // Beside the panel.
  if (target === panel) panel.close();
});
panel.addEventListener("close", () => body.replaceChildren());
