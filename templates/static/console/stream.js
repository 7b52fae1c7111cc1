// The live socket: authenticates by its first message, asks for a snapshot, reconnects by itself.

import { renew, token, tokenRefused } from "./api.js";

const SILENCE_MS = 15_000;

export class Stream {
  constructor({ onSnapshot, onEvent, onPrices, onState, onEnd }) {
    Object.assign(this, { onSnapshot, onEvent, onPrices, onState, onEnd });
    this.stopped = false;
    this.pause = 500;
  }

  async start() {
    if (this.stopped) return;
    this.onState("connecting");
    let access;
    try {
      access = await token();
    } catch (error) {
      if (error.status === 401) { this.onEnd(); return; }
      this.again();
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/stream`);
    this.socket = socket;
    this.sequence = 0;
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: access }));
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = (event) => this.closed(event.code);
    this.listen();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.retry);
    this.socket?.close();
  }

  askForSnapshot() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "snapshot" }));
  }

  take(message) {
    this.listen();
    if (message.sequence !== this.sequence + 1) this.askForSnapshot();
    this.sequence = message.sequence;
    if (message.type === "ready") { this.pause = 500; this.askForSnapshot(); }
    if (message.type === "snapshot") { this.onState("live"); this.onSnapshot(message.data); }
    if (message.type === "event") this.onEvent(message.kind, message.data);
    if (message.type === "prices") this.onPrices(message.data);
  }

  // Silence: ask once; when even that isn't answered, begin anew.
  listen() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.onState("stale");
      this.askForSnapshot();
      this.timer = setTimeout(() => this.socket?.close(), SILENCE_MS);
    }, SILENCE_MS);
  }

  async closed(code) {
    clearTimeout(this.timer);
    if (this.stopped) return;
    this.onState("stale");
    if (code === 4401) {
      tokenRefused();
      try { await renew(); } catch (error) { if (error.status === 401) { this.onEnd(); return; } }
    }
    this.again();
  }

  again() {
    this.retry = setTimeout(() => this.start(), this.pause * (0.75 + Math.random() / 2));
    this.pause = Math.min(this.pause * 2, 15_000);
  }
}
