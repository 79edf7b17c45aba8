// The desk: saves as one types, walks findings and criteria by keys, and keeps both texts when two people meet.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  const saved = document.getElementById("saved");
  const conflict = document.getElementById("conflict");
  const waiting = new Map(); // field element → timer
  let revision = Number(desk.dataset.revision);
  let chain = Promise.resolve();

  const typing = (target) => target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName);
  const rail = () => document.getElementById("rail");
  const tell = (words, failed = false) => {
    saved.textContent = words;
    saved.classList.toggle("failed", failed);
  };

  // Renewing the rail under someone's hands would take away what they are typing there.
  let stale = false;
  const renew = () => {
    const at = document.activeElement;
    stale = rail().contains(at) && typing(at);
    if (!stale) window.htmx.trigger(rail(), "renew");
  };
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const at = document.activeElement;
    const renews = event.detail.target === rail() && event.detail.requestConfig?.verb === "get";
    if (renews && rail().contains(at) && typing(at)) {
      event.detail.shouldSwap = false;
      stale = true;
    }
  });
  document.addEventListener("focusout", (event) => {
    if (stale && rail().contains(event.target)) setTimeout(renew, 300);
  });

  // ── saving ────────────────────────────────────────────────────────────────────────────────────────
  const bodyOf = (field) => {
    const body = new FormData();
    body.set("field", field.dataset.field);
    body.set("value", field.value);
    body.set("seen", revision);
    if (field.dataset.path) body.set("path", field.dataset.path);
    return body;
  };

  async function save(field) {
    const sent = field.value;
    tell("saving…");
    let answer;
    try {
      answer = await fetch(desk.dataset.edit, {
        method: "POST",
        body: bodyOf(field),
        headers: { "X-CSRFToken": token, Accept: "application/json" },
        redirect: "manual",
      });
    } catch {
      return tell("not saved: the server does not answer. Your text stays here.", true);
    }
    if (answer.type === "opaqueredirect") return tell("not saved: log in again in another tab, then change the text once more.", true);
    const said = await answer.json().catch(() => ({ message: `not saved: the server answers ${answer.status}` }));
    if (answer.status === 409) return meet(field, said);
    if (!answer.ok) return tell(said.message, true);
    revision = said.revision;
    field.dataset.was = sent;
    tell("saved just now");
    const undo = document.querySelector('.dock [data-key="u"]');
    if (undo) undo.disabled = false;
    if (window.htmx) {
      renew();
      if (field.dataset.renews) {
        const preview = document.getElementById(field.dataset.renews);
        if (preview) window.htmx.ajax("GET", desk.dataset.preview, { target: preview, swap: "innerHTML" });
      }
    }
  }

  const queue = (field) => {
    clearTimeout(waiting.get(field));
    waiting.delete(field);
    if (field.value !== field.dataset.was) chain = chain.then(() => save(field));
    return chain;
  };

  document.querySelectorAll("[data-field]").forEach((field) => (field.dataset.was = field.value));
  document.addEventListener("input", (event) => {
    const field = event.target.closest("[data-field]");
    if (!field) return;
    tell("…");
    clearTimeout(waiting.get(field));
    waiting.set(field, setTimeout(() => queue(field), 700));
  });
  document.addEventListener("change", (event) => {
    const field = event.target.closest("[data-field]");
    if (field) queue(field);
  });
  // Whatever leaves the page waits for what is still being typed.
  const flush = () => Promise.all([...waiting.keys()].map(queue));
  document.addEventListener("submit", (event) => {
    if (!waiting.size || event.target.dataset.flushed) return;
    event.preventDefault();
    const { target, submitter } = event;
    flush().then(() => {
      target.dataset.flushed = "1";
      target.requestSubmit(submitter ?? undefined);
    });
  }, true);
  window.addEventListener("beforeunload", (event) => {
    if (waiting.size) {
      flush();
      event.preventDefault();
    }
  });

  // ── two people ────────────────────────────────────────────────────────────────────────────────────
  const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
  function meet(field, said) {
    tell("not saved: someone else changed this", true);
    conflict.querySelector("[data-message]").textContent = said.message;
    const mine = conflict.querySelector("[data-mine]");
    mine.value = field.value;
    conflict.querySelector("[data-theirs]").value = asText(field.dataset.field === "test" ? "Load the page again to see it." : said.theirs);
    conflict.onclick = (event) => {
      const choice = event.target.closest("[data-keep]")?.dataset.keep;
      if (!choice) return;
      conflict.close();
      if (choice === "theirs") return location.reload();
      field.value = mine.value;
      fetch(rail().getAttribute("hx-get"), { headers: { "HX-Request": "true" } })
        .then((answer) => answer.text())
        .then((html) => {
          revision = Number(/data-revision="(\d+)"/.exec(html)?.[1] ?? revision);
          return save(field);
        });
    };
    conflict.showModal();
  }

  // What was folded open or chosen in the rail stays so when it is renewed.
  const nameOf = (fold) =>
    fold.closest("[data-criterion]")?.dataset.criterion ?? fold.querySelector("summary")?.textContent.trim();
  const idOf = (element) => element?.dataset.criterion ?? element?.dataset.finding;
  let opened = new Set();
  let chosen;
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target !== rail()) return;
    opened = new Set([...rail().querySelectorAll("details[open]")].map(nameOf));
    chosen = idOf(rail().querySelector(".rub.on, .finding.on"));
  });

  document.body.addEventListener("htmx:afterSwap", () => {
    const now = rail();
    if (!now) return;
    now.querySelectorAll("details").forEach((fold) => {
      if (opened.has(nameOf(fold))) fold.open = true;
    });
    now.querySelectorAll(".rub, .finding").forEach((element) => {
      if (chosen && idOf(element) === chosen) element.classList.add("on");
    });
    opened = new Set();
    chosen = undefined;
    revision = Math.max(revision, Number(now.dataset.revision));
    const count = Number(now.dataset.against);
    const against = document.getElementById("against");
    if (against) against.textContent = count ? `${count} thing${count > 1 ? "s" : ""} stand${count > 1 ? "" : "s"} against publishing` : "";
  });
  document.body.addEventListener("htmx:responseError", (event) => {
    const answer = event.detail.xhr;
    if (!rail()?.contains(event.detail.elt)) return;
    let words = `The server answers ${answer.status}.`;
    try {
      words = JSON.parse(answer.responseText).message ?? words;
    } catch {
      // no JSON: the number says enough
    }
    tell(words, true);
  });
  document.body.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.path === rail()?.querySelector("[data-rubric]")?.dataset.rubric) {
      event.detail.headers.Accept = "application/json";
      event.detail.parameters.seen = revision;
    }
  });

  // ── keys ──────────────────────────────────────────────────────────────────────────────────────────
  const walk = (selector) => {
    const list = [...document.querySelectorAll(selector)];
    if (!list.length) return;
    const at = list.findIndex((element) => element.classList.contains("on"));
    document.querySelectorAll(".finding.on, .rub.on").forEach((element) => element.classList.remove("on"));
    const next = list[(at + 1) % list.length];
    next.classList.add("on");
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const change = (op) => {
    const criterion = document.querySelector(".rub.on");
    if (!criterion || !window.htmx) return;
    const key = criterion.dataset.criterion;
    window.htmx
      .ajax("POST", document.querySelector("[data-rubric]").dataset.rubric, {
        target: "#rail",
        swap: "outerHTML",
        values: { op, key, seen: revision },
        headers: { "X-CSRFToken": token },
      })
      .then(() => {
        const again = [...document.querySelectorAll(".rub")].find((element) => element.dataset.criterion === key);
        again?.classList.add("on");
      });
  };
  const PINS = { Digit1: "instructions", Digit2: "reference", Digit3: "tests", Digit4: "environment" };
  const ACTS = {
    n: () => walk(".finding"),
    c: () => walk(".rub"),
    x: () => document.querySelector(".finding.on [data-mend]")?.click(),
    w: () => document.querySelector(".finding.on [data-waive]")?.click(),
    "]": () => change("heavier"),
    "[": () => change("lighter"),
    "}": () => change("down"),
    "{": () => change("up"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && typing(event.target) && desk.contains(event.target)) return event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.body.dataset.shortcuts === "off" || document.querySelector("dialog[open]")) return;
    if (event.shiftKey && event.code in PINS) {
      event.preventDefault();
      const address = new URL(location.href);
      address.searchParams.set("pin", PINS[event.code]);
      location.href = address;
    } else if (event.key in ACTS) {
      event.preventDefault();
      ACTS[event.key]();
    }
  });

  // ── dragging criteria ─────────────────────────────────────────────────────────────────────────────
  let dragged = null;
  document.addEventListener("dragstart", (event) => (dragged = event.target.closest?.(".rub") ?? null));
  document.addEventListener("dragover", (event) => {
    const over = event.target.closest?.(".rub");
    document.querySelectorAll(".rub.over").forEach((element) => element.classList.remove("over"));
    if (!dragged || !over) return;
    event.preventDefault();
    over.classList.add("over");
  });
  document.addEventListener("drop", (event) => {
    const over = event.target.closest?.(".rub");
    if (!dragged || !over || over === dragged) return;
    event.preventDefault();
    over.before(dragged);
    const keys = [...document.querySelectorAll(".rub")].map((element) => element.dataset.criterion);
    window.htmx?.ajax("POST", document.querySelector("[data-rubric]").dataset.rubric, {
      target: "#rail",
      swap: "outerHTML",
      values: { op: "order", key: keys, seen: revision },
      headers: { "X-CSRFToken": token },
    });
    dragged = null;
  });
})();
