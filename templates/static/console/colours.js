// The page's colours as the charts, which draw by themselves, need them.

const probe = document.body.appendChild(Object.assign(document.createElement("span"), { hidden: true }));

/** A colour of theme.css as rgb text, as it is in the present theme; ``alpha`` from 0 to 1. */
export function colour(name, alpha = 1) {
  probe.style.color = `var(--${name})`;
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

/** Calls draw when the theme changes. */
export function onTheme(draw) {
  window.addEventListener("des:theme", draw);
}
