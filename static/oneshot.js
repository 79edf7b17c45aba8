// The few things that HTML and htmx do not do: keys, copying, times in the reader's zone, theme, dialogs, toasts.
// Every page works without it. No inline handler is ever needed: data attributes say what an element does.
//   data-key="n"           pressing n clicks (or focuses) the element
//   data-copy="#id"        copies that element's text; data-copy-text="…" copies a text
//   data-opens="id"        opens the <dialog id>; data-closes closes the one around it
//   data-href="…"          a row that Enter opens when it has no a.name
"use strict";

const doc = document;
const all = (selector, root = doc) => [...root.querySelectorAll(selector)];
const one = (selector, root = doc) => root.querySelector(selector);

// ── times ───────────────────────────────────────────────────────────────────────────────────────────
const two = (n) => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function relative(then, now) {
  const s = (now - then) / 1000;
  if (s > -60 && s < 60) return "just now";
  if (s >= 60 && s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s >= 3600 && s < 86400) return `${Math.floor(s / 3600)} h ago`;
  if (s >= 86400 && s < 172800) return "yesterday";
  if (s >= 172800 && s < 604800) return `${Math.floor(s / 86400)} days ago`;
  const date = `${then.getDate()} ${MONTHS[then.getMonth()]}`;
  return then.getFullYear() === now.getFullYear() ? date : `${date} ${then.getFullYear()}`;
}

function writeTimes(root = doc) {
  const now = new Date();
  for (const element of all("time[data-time]", root)) {
    const then = new Date(element.dateTime);
    if (Number.isNaN(then.getTime())) continue;
    const clock = `${two(then.getHours())}:${two(then.getMinutes())}`;
    const words = {
      ago: () => relative(then, now),
      clock: () => `${clock}:${two(then.getSeconds())}`,
      moment: () => `${then.getDate()} ${MONTHS[then.getMonth()]} ${then.getFullYear()}, ${clock}`,
    }[element.dataset.time]?.();
    if (words && element.textContent !== words) element.textContent = words;
  }
}

// How far this clock is ahead of the server's, so that what is going on never lasts less than no time.
const serverNow = () => Date.now() - (openedAt - servedAt);
let openedAt = 0;
let servedAt = 0;

function duration(s) {
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  const minutes = Math.round(s / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

function countOn() {
  for (const element of all("[data-since]")) {
    const words = duration(Math.max(0, Math.floor((serverNow() - new Date(element.dataset.since).getTime()) / 1000)));
    if (element.textContent !== words) element.textContent = words;
  }
}

// ── toasts and copying ──────────────────────────────────────────────────────────────────────────────
function fade(toast) {
  setTimeout(() => toast.remove(), 8000);
}

function say(words) {
  const toast = doc.createElement("p");
  toast.className = "toast";
  toast.innerHTML = '<svg class="i" aria-hidden="true"><use href="#i-check"/></svg><span></span>';
  toast.lastChild.textContent = words;
  one("#toasts")?.append(toast);
  fade(toast);
}

async function copy(button) {
  const source = button.dataset.copyText ?? one(button.dataset.copy)?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(source);
  } catch {
    // Off localhost and without TLS a browser offers no clipboard; a selection can still be copied.
    const area = doc.createElement("textarea");
    area.value = source;
    doc.body.append(area);
    area.select();
    doc.execCommand("copy");
    area.remove();
    button.focus();
  }
  say("Copied");
}

// ── dialogs ─────────────────────────────────────────────────────────────────────────────────────────
function open(id) {
  const dialog = doc.getElementById(id);
  if (!dialog || dialog.open) return;
  one("details.menu[open]")?.removeAttribute("open");
  dialog.showModal();
  one("input[type=search]", dialog)?.select();
}

// ── keys ────────────────────────────────────────────────────────────────────────────────────────────
const PAGES = { o: 0, t: 1, s: 2, r: 3, b: 4 };
let going = 0;

const typing = (target) => target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName);
const rows = () => all("main .table tbody tr").filter((row) => row.offsetParent !== null && one("a.name, a", row));
const selected = () => one('main .table tbody tr[aria-selected="true"]');

function move(step) {
  const list = rows();
  if (!list.length) return;
  const at = list.indexOf(selected());
  const next = list[Math.min(Math.max(at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step, 0), list.length - 1)];
  all('tr[aria-selected="true"]').forEach((row) => row.removeAttribute("aria-selected"));
  next.setAttribute("aria-selected", "true");
  next.scrollIntoView({ block: "nearest" });
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
  if (doc.body.dataset.shortcuts === "off" || one("dialog[open]")) return;
  const key = event.key;
  const act = (action) => {
    event.preventDefault();
    action();
  };
  if (Date.now() - going < 1500 && key in PAGES) {
    going = 0;
    return act(() => all(".nav a")[PAGES[key]]?.click());
  }
  going = key === "g" ? Date.now() : 0;
  if (key === "/") return act(() => open("jump"));
  // A page with keys of its own lists them in a dialog of its own, and may give j and k another meaning.
  if (key === "?") return act(() => open(one("dialog[data-keys]")?.id ?? "shortcuts"));
  const own = one(`main [data-key="${CSS.escape(key)}"]`);
  if (key === "j" && !own) return act(() => move(1));
  if (key === "k" && !own) return act(() => move(-1));
  if (key === "Escape") return selected()?.removeAttribute("aria-selected");
  const row = selected();
  if (key === "Enter" && row && event.target === doc.body) {
    return act(() => (one("a.name", row) ?? one("a", row)).click());
  }
  const wanted = `[data-key="${CSS.escape(key)}"]:not([disabled])`;
  const target = (row && one(wanted, row)) ?? one(`main ${wanted}`);
  if (target) act(() => (typing(target) ? target.focus() : target.click()));
}

function walkResults(event) {
  // Escape would empty the field first and close the dialog only when pressed again.
  if (event.key === "Escape") return one("#jump").close();
  const links = all("#jump-results a");
  if (!links.length || !["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return;
  const at = links.indexOf(doc.activeElement);
  if (event.key === "Enter") {
    if (at < 0) {
      event.preventDefault();
      links[0].click();
    }
    return;
  }
  event.preventDefault();
  const next = at + (event.key === "ArrowDown" ? 1 : -1);
  (next < 0 ? one("#jump input[type=search]") : links[Math.min(next, links.length - 1)]).focus();
}

// ── tabs of a long page ─────────────────────────────────────────────────────────────────────────────
function spy() {
  const tabs = all(".tabs.stick a[href^='#']");
  const boxes = tabs.map((tab) => doc.getElementById(tab.hash.slice(1))?.getBoundingClientRect());
  // The last section of the main column whose head has passed under the tabs; what stands beside it has no turn.
  const line = one(".tabs.stick").getBoundingClientRect().bottom + 60;
  let at = 0;
  boxes.forEach((box, index) => {
    if (box && box.top <= line && box.top >= (boxes[at]?.top ?? 0) && Math.abs(box.left - boxes[0].left) < 8) at = index;
  });
  tabs.forEach((tab, index) => (index === at ? tab.setAttribute("aria-current", "true") : tab.removeAttribute("aria-current")));
}

// ── theme ───────────────────────────────────────────────────────────────────────────────────────────
function setTheme(radio) {
  const root = doc.documentElement;
  if (radio.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = radio.value;
  all(`input[name="theme"][value="${radio.value}"]`).forEach((other) => (other.checked = true));
  fetch(radio.form.action, { method: "POST", body: new FormData(radio.form), redirect: "manual" });
}

// ── live updates ────────────────────────────────────────────────────────────────────────────────────
let failing = 0;

function polls(element) {
  return /\bevery\b/.test(element.getAttribute("hx-trigger") ?? "");
}

function answered(event) {
  const stale = one("#stale");
  if (!stale || !polls(event.detail.elt)) return;
  const status = event.detail.xhr?.status ?? 0;
  if (status > 0 && status < 500) failing = 0;
  else failing ||= Date.now();
  // One lost answer is nothing to speak of; a server that is being restarted is back within seconds.
  stale.hidden = !failing || Date.now() - failing < 6000;
}

doc.addEventListener("DOMContentLoaded", () => {
  openedAt = Date.now();
  servedAt = Number(doc.body.dataset.now) * 1000 || openedAt;
  writeTimes();
  setInterval(writeTimes, 30000);
  setInterval(countOn, 1000);
  all("#toasts .toast").forEach(fade);
  if (one(".tabs.stick a[href^='#']")) doc.addEventListener("scroll", spy, { passive: true });
  doc.addEventListener("keydown", press);
  one("#jump")?.addEventListener("keydown", walkResults);

  doc.addEventListener("click", (event) => {
    const target = event.target.closest("[data-copy], [data-copy-text], [data-opens], [data-closes], [data-reload], #find");
    if (!(event.target.closest("details.menu"))) one("details.menu[open]")?.removeAttribute("open");
    if (event.target.nodeName === "DIALOG") return event.target.close();
    if (!target || event.ctrlKey || event.metaKey) return;
    if (target.id === "find") {
      event.preventDefault();
      open("jump");
    } else if ("opens" in target.dataset) open(target.dataset.opens);
    else if ("closes" in target.dataset) target.closest("dialog")?.close();
    else if ("reload" in target.dataset) location.reload();
    else copy(target);
  });

  doc.addEventListener("change", (event) => {
    if (event.target.name === "theme" && event.target.form) setTheme(event.target);
    else if ("submits" in event.target.dataset) event.target.form.requestSubmit();
  });

  doc.body.addEventListener("htmx:afterSwap", (event) => writeTimes(event.detail.target));
  doc.body.addEventListener("htmx:oobAfterSwap", (event) => writeTimes(event.detail.target));
  doc.body.addEventListener("toast", (event) => say(event.detail.value));
  doc.body.addEventListener("htmx:afterRequest", answered);
  doc.body.addEventListener("htmx:beforeRequest", (event) => {
    // A tab that nobody looks at asks nothing; what it shows is renewed within one period of coming back.
    if (doc.hidden && polls(event.detail.elt)) event.preventDefault();
  });
});
