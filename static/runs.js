// Live parts of the pages of runs that polling fragments cannot do: the log, the growing phase, keys of rows.
"use strict";

{
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  const number = (n) => n.toLocaleString("en");
  const lines = (n) => `${number(n)} line${n === 1 ? "" : "s"}`;

  // ── log ───────────────────────────────────────────────────────────────────────────────────────────
  // Asks every second for what is new since a cursor, so that nothing is lost and nothing comes twice. An answer
  // has a bounded number of lines and says how many it left out; the page keeps a bounded number as well.
  const KEPT = 5000;
  const EVERY_MS = 1000;
  // The worker writes the last lines just after it has written the run's end.
  const AFTER_THE_END_MS = [1500, 4000];

  class Log {
    constructor(list) {
      this.list = list;
      this.cursor = "";
      this.shown = 0; // lines given by the server, whether still on the page or not
      this.leftOut = 0;
      this.dropped = 0;
      this.pending = [];
      this.paused = false;
      this.follows = true;
      this.source = "";
      this.sources = new Set();
      this.ended = 0;
      this.failures = 0;
      this.live = find("#log-live");
      this.state = find("#log-state");
      this.pause = find("#log-pause");
      this.end = find("#log-end");
      this.choice = find("#log-sources");
      list.addEventListener("scroll", () => this.scrolled(), { passive: true });
      this.pause.addEventListener("click", () => this.toggle());
      this.end.addEventListener("click", () => this.toEnd());
      this.choice.addEventListener("click", (event) => this.choose(event.target.closest("button")));
      this.ask();
    }

    later(ms) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), ms);
    }

    async ask() {
      if (document.hidden && this.cursor) return this.later(EVERY_MS);
      let page;
      try {
        const answer = await fetch(`${this.list.dataset.url}?after=${encodeURIComponent(this.cursor)}`, {
          headers: { Accept: "application/json" },
        });
        if (answer.status === 404) return this.stop("The log is not there any more.");
        page = await answer.json();
        if (answer.status === 410) return this.stop(page.error);
        if (!answer.ok) throw new Error(answer.status);
      } catch {
        this.failures += 1;
        this.state.textContent = "The log stands still: OneShot does not answer. Trying again, nothing is lost.";
        return this.later(Math.min(10000, EVERY_MS * 2 ** this.failures));
      }
      this.failures = 0;
      this.take(page);
      if (page.live) return this.later(EVERY_MS);
      this.isOver();
      if (this.ended < AFTER_THE_END_MS.length) this.later(AFTER_THE_END_MS[this.ended++]);
    }

    take(page) {
      if (page.omitted) {
        const words = this.cursor ? "lines left out here" : "earlier lines left out here";
        this.pending.push([0, "omitted", `… ${number(page.omitted)} ${words}; the download has them all …`]);
        this.leftOut += page.omitted;
      }
      this.cursor = page.next;
      this.shown += page.lines.length;
      this.pending.push(...page.lines);
      if (page.live) {
        this.live.hidden = false;
        this.pause.hidden = false;
      }
      if (!this.paused) this.flush();
      this.say();
    }

    flush() {
      if (!this.pending.length) return;
      const part = document.createDocumentFragment();
      for (const line of this.pending.slice(-KEPT)) part.append(this.row(line));
      this.dropped += Math.max(0, this.pending.length - KEPT);
      this.pending = [];
      this.list.append(part);
      while (this.list.childElementCount > KEPT + 1) {
        this.list.firstElementChild.remove();
        this.dropped += 1;
      }
      if (this.dropped) this.markDropped();
      if (this.follows) this.list.scrollTop = this.list.scrollHeight;
    }

    row([at, source, text]) {
      const item = document.createElement("li");
      const time = document.createElement("time");
      const from = document.createElement("span");
      const words = document.createElement("span");
      from.className = "src";
      words.textContent = text;
      item.dataset.source = source;
      if (source === "omitted") words.className = "hole";
      else {
        if (source === "error") words.className = "err";
        const moment = new Date(at * 1000);
        time.dateTime = moment.toISOString();
        time.textContent = `${moment.toTimeString().slice(0, 8)}.${Math.floor(moment.getMilliseconds() / 100)}`;
        from.textContent = source;
        this.learn(source);
      }
      item.hidden = this.hides(source);
      item.append(time, from, words);
      return item;
    }

    markDropped() {
      let first = this.list.firstElementChild;
      if (!("dropped" in first.dataset)) {
        first = this.row([0, "omitted", ""]);
        first.dataset.dropped = "";
        this.list.prepend(first);
      }
      first.lastElementChild.textContent = `… ${number(this.dropped)} earlier lines; the download has them all …`;
    }

    hides(source) {
      return Boolean(this.source) && source !== this.source && source !== "omitted";
    }

    learn(source) {
      if (this.sources.has(source)) return;
      this.sources.add(source);
      if (this.sources.size < 2) return;
      const button = (value, words) => {
        const made = document.createElement("button");
        made.type = "button";
        made.dataset.source = value;
        made.textContent = words;
        made.setAttribute("aria-pressed", String(value === this.source));
        return made;
      };
      this.choice.replaceChildren(
        button("", "All"),
        ...[...this.sources].map((name) => button(name, name[0].toUpperCase() + name.slice(1))),
      );
      this.choice.hidden = false;
    }

    choose(button) {
      if (!button) return;
      this.source = button.dataset.source;
      for (const other of this.choice.children) other.setAttribute("aria-pressed", String(other === button));
      for (const item of this.list.children) item.hidden = this.hides(item.dataset.source);
      if (this.follows) this.list.scrollTop = this.list.scrollHeight;
    }

    scrolled() {
      const rest = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight;
      if (rest < 30 === this.follows) return;
      this.follows = rest < 30;
      this.say();
    }

    toEnd() {
      this.follows = true;
      this.list.scrollTop = this.list.scrollHeight;
      this.say();
    }

    toggle() {
      this.paused = !this.paused;
      this.pause.firstChild.textContent = this.paused ? "Go on " : "Pause ";
      if (!this.paused) this.flush();
      this.say();
    }

    say() {
      const going = !this.live.hidden;
      const total = lines(this.shown + this.leftOut);
      this.end.hidden = this.follows;
      if (!this.shown && !this.leftOut) {
        this.state.textContent = going ? "Nothing is logged yet" : "Nothing was logged";
      } else if (this.paused) {
        this.state.textContent = `${total}, paused${this.pending.length ? `, ${number(this.pending.length)} wait` : ""}`;
      } else if (going) {
        this.state.textContent = this.follows ? `${total}, following the end` : `${total}, not following`;
      } else this.state.textContent = total;
    }

    isOver() {
      this.live.hidden = true;
      this.pause.hidden = true;
      if (this.paused) this.toggle();
      this.say();
    }

    stop(words) {
      this.live.hidden = true;
      this.pause.hidden = true;
      this.state.textContent = words;
    }
  }

  // ── phases ────────────────────────────────────────────────────────────────────────────────────────
  const LEAST_SHARE = 0.0034; // as in runs/views/phases.py

  function grow() {
    for (const svg of findAll("svg.line:has([data-from])")) {
      const parts = findAll("rect", svg);
      const now = typeof serverNow === "function" ? serverNow() : Date.now();
      const spent = parts.map((part) =>
        part.dataset.from ? Math.max(0, (now - new Date(part.dataset.from).getTime()) / 1000) : Number(part.dataset.seconds),
      );
      const total = spent.reduce((sum, s) => sum + s, 0) || 1;
      const shares = spent.map((s) => Math.max(s / total, LEAST_SHARE));
      const all = shares.reduce((sum, share) => sum + share, 0);
      let x = 0;
      parts.forEach((part, index) => {
        const width = (shares[index] / all) * 100;
        part.setAttribute("x", `${x.toFixed(2)}%`);
        part.setAttribute("width", `${width.toFixed(2)}%`);
        x += width;
      });
    }
  }

  // ── rows ──────────────────────────────────────────────────────────────────────────────────────────
  let chosen = "";

  function keepChoice(event) {
    if (event.detail.target?.id !== "rows") return;
    chosen = find('#rows tr[aria-selected="true"]')?.dataset.run ?? "";
  }

  function restoreChoice() {
    if (!chosen) return;
    find(`#rows tr[data-run="${CSS.escape(chosen)}"]`)?.setAttribute("aria-selected", "true");
    chosen = "";
  }

  function pressInRow(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.body.dataset.shortcuts === "off" || find("dialog[open]")) return;
    if (/^(input|textarea|select)$/i.test(event.target.tagName)) return;
    const button = find(`#rows tr[aria-selected="true"] [data-row-key="${CSS.escape(event.key)}"]:not([disabled])`);
    if (!button) return;
    event.preventDefault();
    button.click();
  }

  // ── tabs: the section that is read is the current one ─────────────────────────────────────────────
  let waiting = false;

  function markTab() {
    waiting = false;
    const tabs = findAll("#tabs a");
    let current = tabs[0];
    for (const tab of tabs) {
      const section = document.getElementById(tab.hash.slice(1));
      if (section && section.getBoundingClientRect().top < 160) current = tab;
    }
    if (window.innerHeight + window.scrollY >= document.body.scrollHeight - 4 && window.scrollY > 0) {
      current = tabs.at(-1);
    }
    for (const tab of tabs) {
      if (tab === current) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const list = find("#log-lines");
    if (list) new Log(list);
    if (find("svg.line")) setInterval(grow, 1000);
    if (find("#rows")) {
      document.addEventListener("keydown", pressInRow);
      document.body.addEventListener("htmx:beforeSwap", keepChoice);
      document.body.addEventListener("htmx:afterSettle", restoreChoice);
    }
    if (find("#tabs")) {
      const soon = () => {
        if (!waiting) requestAnimationFrame(markTab);
        waiting = true;
      };
      document.addEventListener("scroll", soon, { passive: true });
      document.body.addEventListener("htmx:afterSettle", soon);
      markTab();
    }
  });
}
