// Light or dark: as the system says, unless chosen here. Loaded before anything is drawn.
(() => {
  const KEY = "sealmint-scheme", root = document.documentElement;
  const chosen = () => {
    try { return localStorage.getItem(KEY) ?? "auto"; } catch { return "auto"; }
  };
  const apply = scheme => {
    if (scheme === "auto") delete root.dataset.scheme;
    else root.dataset.scheme = scheme;
    dispatchEvent(new Event("schemechange"));
  };
  apply(chosen());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("schemechange")));
  addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("scheme");
    choice.value = chosen();
    choice.addEventListener("change", () => {
      try { localStorage.setItem(KEY, choice.value); } catch { /* it holds for this page then */ }
      apply(choice.value);
    });
  });
})();
