// Light or dark: as the system says, or as the reader chose. This is a plain
// script in the head, so that the page is never first shown in the other one.

(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("finwait-theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "dark" : "light");
  };
  system.addEventListener("change", apply);
  apply();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      const dark = document.documentElement.dataset.theme === "dark";
      button.textContent = dark ? "Light" : "Dark";
      button.setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    };
    button.addEventListener("click", () => {
      const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try {
        // Going back to what the system says follows the system again.
        if (other === (system.matches ? "dark" : "light")) localStorage.removeItem("finwait-theme");
        else localStorage.setItem("finwait-theme", other);
      } catch {
        // Then the choice lasts as long as the page.
      }
      document.documentElement.dataset.theme = other;
      name();
    });
    system.addEventListener("change", name);
    name();
  });
})();
