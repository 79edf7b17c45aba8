/* Leads from the evidence of a verdict to the line of the diff that it quotes. Without it the link leads to the diff. */
"use strict";

{
  const rowOf = (link) => {
    const panels = [...document.querySelectorAll("#diff .file")];
    const panel = panels.find((one) => one.querySelector(".diff-head .mono")?.title === link.dataset.cite);
    if (!panel) return null;
    // Beside a reference the run's own diff comes first.
    const table = panel.querySelector("table.diff");
    const sign = link.dataset.side === "old" ? "del" : "";
    const rows = [...(table?.rows ?? [])].filter((row) => !row.classList.contains("hunk"));
    const found = rows.find(
      (row) =>
        row.cells[0].textContent === link.dataset.line &&
        (sign ? row.classList.contains(sign) : !row.classList.contains("del")),
    );
    return found ?? panel;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-cite]");
    const row = link && rowOf(link);
    if (!row) return;
    event.preventDefault();
    for (const old of document.querySelectorAll("#diff .cited")) old.classList.remove("cited");
    if (row.tagName === "TR") row.classList.add("cited");
    row.scrollIntoView({ block: "center" });
  });
}
