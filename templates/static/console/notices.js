// What the user should hear of: fills, rejections, strategies and accounts in trouble, the kill switch. Kept in a list,
// said to screen readers, and shown for a moment.

import { moment, clock } from "./format.js";
import { element } from "./tables.js";

const MOST = 50;
const SHOWN_MS = 7000;
const MOST_SHOWN = 3;
const MARKS = { good: "✓", bad: "✕", warn: "▲", info: "•" };
// Fills can come many a second: they are told together.
const TELL_MS = 2000;

const MOST_SEEN = 500;

const notices = [];
// Snapshots tell the same again, also what the user has cleared away.
const seen = new Set();
const list = document.getElementById("notices-list");
const stack = document.getElementById("said");
let waiting = [];
let timer = 0;

/** Once for each ``key``. Levels: good, info, warn, bad. ``at`` is ISO; without ``show`` it stands in the list only. */
export function notice({ key, level, text, at = new Date().toISOString(), show = level === "bad" || level === "warn" }) {
  if (seen.has(key)) return;
  seen.add(key);
  if (seen.size > MOST_SEEN) seen.delete(seen.values().next().value);
  notices.push({ key, level, text, at });
  notices.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  notices.length = Math.min(notices.length, MOST);
  draw();
  if (show) toast(level, text);
}

/** For screen readers; at once when it can't wait. */
export function tell(text, urgent = false) {
  if (urgent) { document.getElementById("assertive").textContent = text; return; }
  waiting.push(text);
  timer ||= setTimeout(() => {
    const said = waiting.length > 3 ? `${waiting.length} events. Last: ${waiting.at(-1)}` : waiting.join(". ");
    document.getElementById("polite").textContent = said;
    waiting = [];
    timer = 0;
  }, TELL_MS);
}

/** What just happened, for a moment; what went wrong stays until it is closed. */
export function toast(level, text) {
  const box = element("div", { className: `note ${level === "good" || level === "info" ? "good" : "bad"}`, role: level === "bad" ? "alert" : "status" },
    element("p", { textContent: text }), element("button", { type: "button", className: "bare small", textContent: "✕", "aria-label": "Dismiss", onclick: () => box.remove() }));
  stack.append(box);
  while (stack.children.length > MOST_SHOWN) stack.firstChild.remove();
  if (level !== "bad") setTimeout(() => box.remove(), SHOWN_MS);
}

function draw() {
  if (!notices.length) {
    list.replaceChildren(element("li", { className: "hollow", textContent: "Nothing to report. Rejected orders and troubled strategies show up here." }));
    return;
  }
  list.replaceChildren(...notices.map(({ level, text, at }) => element("li", {},
    element("span", { className: `mark ${level === "info" ? "soft" : level}`, textContent: MARKS[level], "aria-label": level, role: "img" }),
    element("span", { textContent: text }), element("span"),
    element("time", { dateTime: at, title: moment(at), textContent: clock(at) }))));
}

document.getElementById("notices-clear").addEventListener("click", () => { notices.length = 0; draw(); });
draw();
