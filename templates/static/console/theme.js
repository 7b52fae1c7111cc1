// Light or dark, before the first paint: this is the one script that isn't a module.
(() => {
  const KEY = "des.theme";
  const CHOICES = ["auto", "dark", "light"];
  const root = document.documentElement;

  function stored() {
    try { return localStorage.getItem(KEY); } catch { return null; }
  }

  function show(choice) {
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
  }

  let choice = CHOICES.includes(stored()) ? stored() : "auto";
  show(choice);

  window.desTheme = {
    get choice() { return choice; },
    /** auto → dark → light → auto */
    next() {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      show(choice);
      try { localStorage.setItem(KEY, choice); } catch { /* private mode: it holds until the page is left */ }
      window.dispatchEvent(new Event("des:theme"));
      return choice;
    },
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.dispatchEvent(new Event("des:theme")));
})();
