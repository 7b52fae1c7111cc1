// Who this page belongs to, and its short-lived access token: in memory only, had from the log-in's cookie.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const RELOADED = "des.reloaded";
// A token is renewed while it still has this much life.
const SPARE_MS = 30_000;

export const user = document.body.dataset.user;
let token = null;
let expires = 0;
let renewal = null;

/** The log-in is over, or the page belongs to somebody else by now: it has been left, nothing more will come. */
export class SessionEnded extends Error {}

export function csrf() {
  return meta("csrf-token");
}

/** A token that is accepted for a while yet. Rejects with SessionEnded, or with what fetch raises. */
export async function access() {
  if (token && Date.now() < expires) return token;
  return renew();
}

export function forget() {
  token = null;
}

/** A new token from the server; callers at the same time share one. */
export function renew() {
  renewal ??= ask().finally(() => { renewal = null; });
  return renewal;
}

async function ask() {
  const answer = await fetch("/console/token", {
    method: "POST", headers: { "X-CSRFToken": csrf(), Accept: "application/json" }, redirect: "manual", signal: AbortSignal.timeout(15_000),
  });
  if (answer.type === "opaqueredirect" || answer.status === 401) leave();
  // Somebody logged in or out in another tab: this page's form token is of another session.
  if (answer.status === 403) reload();
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  const given = await answer.json();
  if (ownerOf(given.token) !== user) reload();
  token = given.token;
  // Lives as long by this page's clock as the server says by its own.
  expires = Date.now() + lifeOf(given.token) - SPARE_MS;
  return token;
}

function claims(jwt) {
  const [, body] = jwt.split(".");
  return JSON.parse(atob(body.replaceAll("-", "+").replaceAll("_", "/")));
}

const ownerOf = (jwt) => String(claims(jwt).user_id);

function lifeOf(jwt) {
  const { iat, exp } = claims(jwt);
  return (exp - iat) * 1000;
}

export function leave() {
  location.assign("/login?ended");
  throw new SessionEnded("logged out");
}

/** Begins anew as whoever is logged in now. Not over and over: a page that can't get in says so. */
export function reload() {
  const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
  if (Math.abs(Date.now() - last) < 10_000) leave();
  sessionStorage.setItem(RELOADED, String(Date.now()));
  location.reload();
  throw new SessionEnded("another session");
}

// Tabs tell each other who is logged in: one browser has one log-in, so an older page of another user is over.
const tabs = new BroadcastChannel("des.session");
tabs.onmessage = ({ data }) => {
  if (data === user) return;
  try { reload(); } catch { /* on its way */ }
};
tabs.postMessage(user);
