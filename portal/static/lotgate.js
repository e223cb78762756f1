// Small comforts on top of pages that work without them.

// --- htmx: every request carries the CSRF token.
document.addEventListener("htmx:config:request", (event) => {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token) event.detail.ctx.request.headers["X-CSRFToken"] = token;
});
// A session that ended meanwhile: show the sign-in page as a page, not inside this one.
document.addEventListener("htmx:before:response", (event) => {
  const response = event.detail.ctx.response.raw;
  if (!response.redirected) return;
  event.preventDefault();
  const signIn = document.querySelector('meta[name="sign-in"]')?.content;
  if (new URL(response.url).pathname === signIn) location.reload();
  else location.assign(response.url);
});
document.addEventListener("htmx:error", () => say("No connection. This page may be out of date."));

// --- Light and dark.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const root = document.documentElement;
  root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.bsTheme); } catch { /* for this page only, then */ }
});

// --- Copy.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  let text = "Copied";
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    text = "Not copied: select it by hand";
  }
  say(text);
  button.classList.toggle("copied", text === "Copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});

function say(text) {
  let place = document.getElementById("announcer");
  if (!place) {
    place = document.createElement("div");
    place.id = "announcer";
    place.className = "announcer";
    place.setAttribute("role", "status");
    document.body.append(place);
  }
  place.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { place.textContent = ""; }, 2000);
}

// --- Dialogs: popovers without this; modal with it.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog?.showModal) {
    event.preventDefault();
    dialog.removeAttribute("popover");
    dialog.showModal();
    return;
  }
  const open = event.target.closest("dialog[open]:modal");
  if (open && (event.target === open || event.target.closest("[data-dialog-close]"))) {
    event.preventDefault();
    open.close();
  }
});

// --- What comes in by load or by htmx.
function dress(root) {
  // Tables that become cards on a narrow screen: each cell knows its column, and stays a cell for screen readers.
  for (const table of root.querySelectorAll("table.stack")) {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    table.setAttribute("role", "table");
    table.querySelectorAll("thead, tbody, tfoot").forEach((group) => group.setAttribute("role", "rowgroup"));
    table.querySelectorAll("tr").forEach((row) => row.setAttribute("role", "row"));
    table.querySelectorAll("thead th").forEach((head) => head.setAttribute("role", "columnheader"));
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].forEach((cell, index) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
        if (heads[index] && cell.colSpan === 1) cell.dataset.label = heads[index];
      });
    }
  }
  // Regions that scroll sideways can be reached and scrolled by keyboard.
  for (const region of root.querySelectorAll(".table-responsive, .scroll-x")) {
    if (region.scrollWidth <= region.clientWidth || region.tabIndex === 0) continue;
    region.tabIndex = 0;
    if (region.hasAttribute("aria-label")) continue;
    const name = region.querySelector("caption")?.textContent.trim();
    region.setAttribute("role", name ? "region" : "group");
    region.setAttribute("aria-label", name || "Scrolls sideways");
  }
  // A page that came back with problems begins there.
  root.querySelector("[data-focus]")?.focus();
}
dress(document);
document.addEventListener("htmx:after:swap", () => dress(document));

// --- Filters apply as soon as they are chosen; without JavaScript there is the button.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit]");
  if (form && event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
});
