// Runs before the first paint, so that a dark page never flashes white.
(function () {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  function stored() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  }
  function apply() {
    root.dataset.bsTheme = stored() || (dark.matches ? "dark" : "light");
  }
  apply();
  root.classList.add("js");
  dark.addEventListener("change", apply);
})();
