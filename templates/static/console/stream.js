// The live socket: authenticates by its first message, asks for a snapshot on every gap, reconnects by itself, and knows
// how old what the page shows is.

import { access, forget, SessionEnded } from "./session.js";
import { messageIn } from "./shapes.js";

const BEAT_MS = 1000;
// After this much silence the server is asked for a snapshot; when it doesn't answer that in time, the line is dead.
const SILENCE_MS = 12_000;
const ANSWER_MS = 6000;
// A reconnect that is quicker than this isn't worth a warning; past the second one nobody should trade on the page.
const GRACE_MS = 3000;
const OFFLINE_MS = 30_000;
// The page slept, or its clock was changed.
const SLEPT_MS = 15_000;
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 15_000;
// A line that has held for so long is good: the next cut is mended at once again.
const HELD_MS = 10_000;
const TOKEN_REFUSED = 4401;

export class Stream {
  /** Handlers: onSnapshot(data), onEvent(kind, data), onPrices(rows), onBeat({state, age, skew}). */
  constructor(handlers) {
    Object.assign(this, handlers);
    this.pause = FIRST_PAUSE_MS;
    this.heardAt = null;
    this.shownAt = null;
    this.askedAt = null;
    this.serverMs = null;
    this.skew = 0;
    this.sequence = 0;
    this.live = false;
    this.watched = null;
    this.beatAt = [performance.now(), Date.now()];
    setInterval(() => this.beat(), BEAT_MS);
    addEventListener("online", () => this.reconnect());
    addEventListener("offline", () => this.beat());
    addEventListener("pageshow", (event) => { if (event.persisted) this.reconnect(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.beat(); });
    this.open();
  }

  /** Milliseconds by the server's clock, as far as known: no clock of this machine is trusted for it. */
  now() {
    return this.serverMs === null ? Date.now() : this.serverMs + performance.now() - this.serverAt;
  }

  /** How old what the page shows is, in milliseconds; null before the first snapshot. */
  age() {
    return this.shownAt === null ? null : Math.max(0, performance.now() - this.shownAt);
  }

  state() {
    const age = this.age();
    if (navigator.onLine === false) return age === null || age > GRACE_MS ? "offline" : "live";
    if (age === null) return this.failed ? "offline" : "connecting";
    if (this.live && !this.overdue()) return "live";
    if (age < GRACE_MS) return "live";
    return age < OFFLINE_MS ? "stale" : "offline";
  }

  askForSnapshot() {
    if (!this.ready) return;
    this.askedAt ??= performance.now();
    this.send({ type: "snapshot" });
  }

  /** Prices and forming candles of a symbol are wanted. */
  watch(connection, symbol) {
    this.watched = connection && symbol ? { type: "watch", connection, symbol } : null;
    if (this.ready && this.watched) this.send(this.watched);
  }

  /** At once, without waiting for the pause to be over. */
  reconnect() {
    this.pause = FIRST_PAUSE_MS;
    this.drop();
    this.open();
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  drop() {
    clearTimeout(this.retry);
    const socket = this.socket;
    this.socket = null;
    this.ready = this.live = false;
    this.askedAt = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  async open() {
    const attempt = (this.attempt ?? 0) + 1;
    this.attempt = attempt;
    let token;
    try {
      token = await access();
    } catch (error) {
      if (error instanceof SessionEnded) return;
      if (attempt === this.attempt) this.again();
      return;
    }
    if (attempt !== this.attempt) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/stream`);
    this.socket = socket;
    this.sequence = 0;
    this.openedAt = performance.now();
    socket.onopen = () => this.send({ type: "auth", token });
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => {
      if (event.code === TOKEN_REFUSED) forget();
      this.again(event.code === TOKEN_REFUSED && this.live);
    };
  }

  again(atOnce = false) {
    this.drop();
    this.failed = this.shownAt === null;
    this.retry = setTimeout(() => this.open(), atOnce ? 0 : this.pause * (0.5 + Math.random()));
    if (!atOnce) this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
    this.beat();
  }

  receive(text) {
    const message = messageIn(text);
    // Nothing that follows can be trusted either. With each time it takes longer: the server may not be ours.
    if (!message) { this.again(); return; }
    this.heardAt = this.serverAt = performance.now();
    // What comes before a snapshot makes nothing that is shown any newer.
    if (this.live || message.type === "snapshot") this.shownAt = this.heardAt;
    this.serverMs = message.server_ms;
    this.skew = Date.now() - message.server_ms;
    if (message.sequence !== this.sequence + 1) this.askForSnapshot();
    this.sequence = message.sequence;
    switch (message.type) {
      case "ready":
        this.ready = true;
        this.askForSnapshot();
        if (this.watched) this.send(this.watched);
        break;
      case "snapshot":
        this.askedAt = null;
        this.live = true;
        this.onSnapshot(message.data);
        this.beat();
        break;
      case "event": this.onEvent(message.kind, message.data); break;
      case "prices": this.onPrices(message.data); break;
    }
  }

  overdue() {
    return this.askedAt !== null && performance.now() - Math.max(this.askedAt, this.heardAt ?? 0) > ANSWER_MS;
  }

  // Once a second, and whenever the page is looked at again.
  beat() {
    const [mono, wall] = this.beatAt;
    this.beatAt = [performance.now(), Date.now()];
    const [since, byWall] = [this.beatAt[0] - mono, this.beatAt[1] - wall];
    // Asleep, the steady clock may have stood still. What was heard before is older by what the other clock says.
    if (byWall - since > SLEPT_MS && this.shownAt !== null) this.shownAt -= byWall - since;
    if (this.live && performance.now() - this.openedAt > HELD_MS) this.pause = FIRST_PAUSE_MS;
    if (Math.max(since, byWall) > SLEPT_MS) this.wake();
    else if (this.live && this.age() > SILENCE_MS) this.askForSnapshot();
    if (this.overdue() || (this.socket && !this.live && performance.now() - this.openedAt > SILENCE_MS)) this.again();
    else this.onBeat({ state: this.state(), age: this.age(), skew: this.skew });
  }

  wake() {
    if (this.socket?.readyState === WebSocket.OPEN) this.askForSnapshot();
    else this.reconnect();
  }
}
