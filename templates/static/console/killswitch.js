// The kill switch: always in reach, and never in doubt.

import { openPanel } from "./actions.js";
import { notice, tell } from "./notices.js";
import { connectionName, instanceName, lists, loaded, onChange, rows } from "./store.js";
import { setText } from "./tables.js";

const button = document.getElementById("kill");
const banner = document.getElementById("stopped");
let before = null;

const open = () => openPanel("Kill switch", "/console/kill-switch");
button.addEventListener("click", open);
document.querySelector("[data-kill]").addEventListener("click", open);

function target({ level, target: id }) {
  if (level === "connection") return connectionName(id);
  if (level === "strategy") return lists.instances.get(id)?.name ?? instanceName(id);
  return level === "system" ? "the whole system" : "all your trading";
}

function draw() {
  if (!loaded) return;
  const held = rows("kill_switches").filter((row) => !row.lifted_at);
  const said = held.map((row) => `${target(row)}: ${row.reason}`).join(" · ");
  banner.hidden = !held.length;
  setText(document.getElementById("stopped-text"), said);
  setText(document.getElementById("kill-text"), held.length ? "Stopped" : "Kill switch");
  button.toggleAttribute("data-on", held.length > 0);
  button.setAttribute("aria-label", held.length ? `Kill switch, pressed for ${held.length}` : "Kill switch");
  if (before !== null && said !== before) tell(said ? `Trading is stopped. ${said}` : "The kill switch is lifted. Trading is allowed again.", true);
  if (before !== null && said && said !== before) notice({ key: `kill ${said}`, level: "bad", text: `Trading stopped: ${said}`, show: false });
  before = said;
}

onChange(["kill_switches", "connections", "instances"], draw);
