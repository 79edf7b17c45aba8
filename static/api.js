// Shows the OpenAPI document as pages of requests that can be tried. No cookie goes with them: a token opens the API.
"use strict";

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
