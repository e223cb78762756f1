// Keys of the reviewer pages. They work only while nothing that takes typing or keys of its own has the focus.

const OWN_KEYS = "input, select, textarea, button, summary, [contenteditable], [tabindex='0'], meter";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest(OWN_KEYS) || document.querySelector("dialog[open], :popover-open")) return;
  const act = { j: next, ArrowRight: next, k: previous, ArrowLeft: previous, c: claim, u: up, "?": help }[event.key];
  if (act && act()) event.preventDefault();
});

const next = () => step(1);
const previous = () => step(-1);

// On a case page: to its neighbour. In the queue: mark the next row, which Enter then opens.
function step(by) {
  const link = document.querySelector(by > 0 ? "[data-next-case]" : "[data-previous-case]");
  if (link) return follow(link);
  const rows = [...document.querySelectorAll("[data-rows] .row-link")];
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement);
  const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  rows[to].focus();
  return true;
}

function claim() {
  const form = document.querySelector("form[data-claim]");
  if (form) form.requestSubmit();
  return Boolean(form);
}

const up = () => follow(document.querySelector("[data-up]"));

function follow(link) {
  link?.click();
  return Boolean(link);
}

function help() {
  document.querySelector("[data-dialog='keyboard-help']")?.click();
  return true;
}

// --- The decision form shows what the chosen decision needs.
const decision = document.querySelector("form[data-decision]");
function fit() {
  const kind = decision.querySelector("input[name=kind]:checked")?.value;
  for (const part of decision.querySelectorAll("[data-for-kind]")) part.hidden = part.dataset.forKind !== kind;
}
if (decision) {
  decision.addEventListener("change", fit);
  decision.addEventListener("click", (event) => {
    const button = event.target.closest("[data-ask]");
    if (!button) return;
    const items = decision.querySelector("[name=items]");
    const lines = items.value.split("\n").filter((line) => line.trim());
    if (!lines.includes(button.dataset.ask)) items.value = [...lines, button.dataset.ask].join("\n");
    items.focus();
  });
  fit();
}

// --- A link to a control opens the area that it is in.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const area = target?.closest("details");
  if (area && !area.open) {
    area.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", reveal);
reveal();
