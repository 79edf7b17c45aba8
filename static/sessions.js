// The viewer of a session: keys that walk from step to step, folding, and links to steps that are already on the page.
// Everything it does can also be had by links; without it the viewer is a page like any other.
"use strict";

{
  const viewer = () => document.querySelector(".session-viewer");
  const typing = (target) => target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName);
  const steps = () => [...viewer().querySelectorAll("article.step")];
  const current = () => viewer().querySelector("article.step.at") ?? viewer().querySelector("article.step.on");
  let goneAt = 0;

  function go(step, { smooth = false } = {}) {
    const article = step.closest("article.step") ?? step;
    viewer().querySelectorAll(".at, .on").forEach((other) => other.classList.remove("at", "on"));
    article.classList.add("at");
    if (step !== article) {
      step.closest("details.calls").open = true;
      step.classList.add("at");
    }
    step.scrollIntoView({ block: "nearest", behavior: smooth ? "smooth" : "auto" });
    article.focus({ preventScroll: true });
    mark(Number(step.dataset.step ?? step.id.slice(1)));
  }

  // The outline's last line that is not after the step.
  function mark(position) {
    const links = [...viewer().querySelectorAll(".outline a[data-step]:not(.more)")];
    const at = links.filter((link) => Number(link.dataset.step) <= position).at(-1);
    links.forEach((link) => (link === at ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    at?.scrollIntoView?.({ block: "nearest" });
    const bars = [...viewer().querySelectorAll(".strip rect")];
    const bar = bars.filter((rect) => Number(rect.dataset.step) <= position).at(-1);
    bars.forEach((rect) => rect.classList.toggle("on", rect === bar));
  }

  // Where reading stands when no step was chosen yet: the first one that is not above the window.
  function here(list) {
    const chosen = current();
    if (chosen) return list.indexOf(chosen);
    const first = list.findIndex((step) => step.getBoundingClientRect().bottom > 80);
    return first < 0 ? 0 : first - 1;
  }

  function walk(by, turns) {
    const list = steps();
    if (!list.length) return;
    const at = here(list);
    let next = at + by;
    if (turns) {
      const turn = list[Math.max(at, 0)].dataset.turn;
      const heads = list.filter((step, index) => index === 0 || step.dataset.turn !== list[index - 1].dataset.turn);
      const later = heads.find((head) => list.indexOf(head) > at && head.dataset.turn !== turn);
      const earlier = heads.filter((head) => list.indexOf(head) < at).at(-1);
      const head = by > 0 ? later : earlier;
      if (head) return go(head);
      next = by > 0 ? list.length : -1;
    }
    if (next >= 0 && next < list.length) return go(list[next]);
    more(by, turns);
  }

  // At the end of what is shown the next steps are asked for, and walking goes on in them.
  function more(by, turns) {
    const links = [...viewer().querySelectorAll(".more-steps a")];
    const last = steps().at(by > 0 ? -1 : 0);
    const link = links.find((a) => (a.compareDocumentPosition(last) & Node.DOCUMENT_POSITION_PRECEDING) === (by > 0 ? 2 : 0));
    if (!link || link.classList.contains("htmx-request")) return;
    document.body.addEventListener("htmx:afterSettle", () => walk(by, turns), { once: true });
    link.click();
  }

  function fold(details, open) {
    details.open = open;
  }

  function foldAll() {
    const all = [...viewer().querySelectorAll(".steps details.fold")];
    const open = all.some((details) => !details.open);
    all.forEach((details) => fold(details, open));
    const button = viewer().querySelector("[data-fold-all]");
    if (button) button.firstChild.textContent = open ? "Fold all " : "Open all ";
  }

  function press(event) {
    if (!viewer() || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
    if (document.body.dataset.shortcuts === "off" || document.querySelector("dialog[open]")) return;
    // g and a letter open another page (oneshot.js).
    if (Date.now() - goneAt < 1500) return void (goneAt = 0);
    if (event.key === "g") return void (goneAt = Date.now());
    // On a page that embeds the viewer, its keys hold only once the reader is in it.
    if ("embedded" in viewer().dataset && !viewer().contains(document.activeElement) && !current()) return;
    const actions = {
      j: () => walk(1, false),
      k: () => walk(-1, false),
      J: () => walk(1, true),
      K: () => walk(-1, true),
      o: () => current()?.querySelectorAll("details.fold").forEach((details, index) => index === 0 && fold(details, !details.open)),
      O: foldAll,
      f: () => viewer().querySelector("[data-finds]")?.focus(),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  function follow(event) {
    const link = event.target.closest?.(".session-viewer [data-step]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (link.matches("rect")) return jump(Number(link.dataset.step));
    if (!link.matches("a")) return;
    const step = document.getElementById(`s${link.dataset.step}`);
    if (!step || !viewer().contains(step)) return;
    event.preventDefault();
    event.stopPropagation();
    go(step);
    if (!("embedded" in viewer().dataset)) history.replaceState(null, "", link.href);
  }

  function jump(position) {
    const step = document.getElementById(`s${position}`);
    if (step) return go(step);
    const link = viewer().querySelector(`.outline a[data-step="${position}"]`);
    if (link) return link.click();
    const hide = viewer().dataset.hide;
    const query = `?${"embedded" in viewer().dataset ? "" : "page=1&"}step=${position}${hide ? `&hide=${hide}` : ""}`;
    window.htmx.ajax("GET", `${viewer().dataset.url}viewer/${query}`, { target: viewer(), swap: "outerHTML" });
  }

  function toAsked(scroll) {
    const step = viewer()?.querySelector("article.step.on");
    const named = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (named?.closest(".calls")) return go(named);
    if (step && scroll) go(step);
  }

  document.addEventListener("keydown", press, { capture: true });
  document.addEventListener("click", follow, { capture: true });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-fold-all]")) foldAll();
  });
  document.addEventListener("DOMContentLoaded", () => {
    toAsked(Boolean(new URLSearchParams(location.search).get("step")));
    document.body.addEventListener("htmx:afterSettle", (event) => {
      if (event.detail.elt?.matches?.(".session-viewer") || event.detail.target?.matches?.(".session-viewer")) toAsked(true);
    });
  });
}
