// Labelling: measures how long an item was looked at, and lets Escape leave the note.
"use strict";

{
  const form = document.getElementById("give");
  let looked = 0;
  let since = document.hidden ? 0 : performance.now();

  document.addEventListener("visibilitychange", () => {
    if (document.hidden && since) looked += performance.now() - since;
    since = document.hidden ? 0 : performance.now();
  });
  form.addEventListener("submit", () => {
    const now = since ? performance.now() - since : 0;
    form.elements.seconds.value = ((looked + now) / 1000).toFixed(1);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.target.blur();
    // Enter in the note is a new line; in the box above it, it must not answer for the person.
    else if (event.key === "Enter" && event.target.type === "checkbox") event.preventDefault();
  });
}
