// Shows the OpenAPI document as requests that can be tried. No cookie goes with them: a token opens the API.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
function followTheme() {
  const chosen = document.documentElement.dataset.theme;
  document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : dark.matches);
}
dark.addEventListener("change", followTheme);
followTheme();

window.ui = window.SwaggerUIBundle({
  dom_id: "#api",
  url: document.getElementById("api").dataset.document,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  // Its badge would come from another host.
  validatorUrl: null,
});
