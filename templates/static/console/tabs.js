// Switching: sections on a phone, the activity's tabs, light and dark.

const views = document.querySelector(".views");
const tabs = [...document.querySelectorAll("#activity [role='tab']")];

/** Brings a section to the front where only one is seen at a time. */
export function showView(name) {
  document.body.dataset.view = name;
  for (const button of views.children) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  // A chart that was hidden has had no size.
  window.dispatchEvent(new Event("resize"));
}

export function showTab(tab, focus = false) {
  for (const one of tabs) {
    const on = one === tab;
    one.setAttribute("aria-selected", String(on));
    one.tabIndex = on ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !on;
  }
  if (focus) tab.focus();
}

views.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  showView(button.dataset.view);
  scrollTo({ top: 0 });
});

for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => showTab(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    showTab(tabs[(step + tabs.length) % tabs.length], true);
  });
}

document.getElementById("open-count").addEventListener("click", () => {
  showView("activity");
  const tab = document.getElementById("tab-orders");
  showTab(tab, true);
  tab.scrollIntoView({ block: "nearest" });
});

const theme = document.getElementById("theme");
const NAMES = { auto: ["◐", "Auto"], dark: ["☾", "Dark"], light: ["☀", "Light"] };

function drawTheme() {
  const [mark, name] = NAMES[window.desTheme.choice];
  theme.firstElementChild.textContent = mark;
  document.getElementById("theme-name").textContent = name;
}
theme.addEventListener("click", () => { window.desTheme.next(); drawTheme(); });
drawTheme();

// The menu closes like a menu.
const menu = document.querySelector(".menu");
document.addEventListener("click", ({ target }) => { if (menu.open && !menu.firstElementChild.contains(target)) menu.open = false; });
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
