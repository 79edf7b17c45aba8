// The chart of a board, drawn by Plotly from data on the page, and the filter of long task lists.
// Everything stands in the table too, so a browser without JavaScript loses no number.
"use strict";

(() => {
  const HEIGHT = { wide: 330, phone: 300 };
  const MARGIN = { l: 44, r: 16, t: 12, b: 44 };
  const PHONE = "(max-width: 48rem)";
  const LABELS = 14;
  // Room to the left of 0, so that a point there stands clear of the scale.
  const BEFORE = 0.025;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const pen = document.createElement("canvas").getContext("2d");
  let loading;

  // Plotly is large: it is fetched once, by the first page that has something to draw.
  function plotly(source) {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("The chart's library could not be loaded."));
      document.head.append(script);
    });
    return loading;
  }

  // A token's own text is "light-dark(…)"; only a computed colour says which of the two it is now.
  function tokens(names) {
    const probe = document.createElement("i");
    document.body.append(probe);
    const colours = {};
    for (const name of names) {
      probe.style.color = `var(--${name})`;
      colours[name] = getComputedStyle(probe).color;
    }
    colours.sans = getComputedStyle(document.body).fontFamily;
    probe.remove();
    return colours;
  }

  const usd = (value, step) => `$${value.toFixed(step < 0.01 ? 4 : 2)}`;
  function duration(value) {
    const whole = Math.round(value);
    if (value < 60) return `${+value.toFixed(value < 10 ? 1 : 0)} s`;
    if (value < 3600) return whole % 60 ? `${Math.floor(whole / 60)} m ${whole % 60} s` : `${whole / 60} min`;
    return `${+(value / 3600).toFixed(1)} h`;
  }
  function short(value) {
    if (value < 1000) return `${value}`;
    return value < 1e6 ? `${+(value / 1e3).toFixed(1)}k` : `${+(value / 1e6).toFixed(2)}M`;
  }
  const WORDS = { cost: usd, time: duration, tokens: short };
  const STEPS = { time: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000] };

  // Four or five round ticks from 0 to a little beyond the last point.
  function ticks(axis, most) {
    const top = most > 0 ? most * 1.12 : axis === "cost" ? 1 : 1;
    let step = STEPS[axis]?.find((candidate) => top / candidate <= 5.5);
    if (!step) {
      const power = 10 ** Math.floor(Math.log10(top / 4));
      step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => top / candidate <= 5) ?? top / 4;
    }
    const values = [];
    for (let value = 0; value <= top * 1.0001; value += step) values.push(value);
    return { top, values, words: values.map((value) => WORDS[axis](value, step)) };
  }

  // Puts a label beside each point, the best first, where it covers no other point, whisker or label; else leaves it out.
  function labels(chart, width, height, top, colours, size) {
    const inner = { w: width - MARGIN.l - MARGIN.r, h: height - MARGIN.t - MARGIN.b };
    const at = (point) => ({ x: ((point.x / top + BEFORE) / (1 + BEFORE)) * inner.w, y: inner.h * (1 - (point.y + 3) / 108) });
    const spots = chart.points.map(at);
    const taken = chart.points.flatMap((point, i) => {
      const boxes = [{ x0: spots[i].x - 7, x1: spots[i].x + 7, y0: spots[i].y - 7, y1: spots[i].y + 7 }];
      if (point.low !== null) {
        boxes.push({
          x0: spots[i].x - 2,
          x1: spots[i].x + 2,
          y0: at({ x: point.x, y: point.high }).y,
          y1: at({ x: point.x, y: point.low }).y,
        });
      }
      return boxes;
    });
    // The dashed line is crossed by no label either.
    chart.frontier.map(([x, y]) => at({ x, y })).forEach((corner, i, corners) => {
      if (!i) return;
      const from = corners[i - 1];
      const steps = Math.ceil(Math.hypot(corner.x - from.x, corner.y - from.y) / 8);
      for (let step = 0; step <= steps; step += 1) {
        const x = from.x + ((corner.x - from.x) * step) / steps;
        const y = from.y + ((corner.y - from.y) * step) / steps;
        taken.push({ x0: x - 1, x1: x + 1, y0: y - 1, y1: y + 1 });
      }
    });
    pen.font = `600 ${size}px ${colours.sans}`;
    const placed = [];
    chart.points.slice(0, LABELS).forEach((point, i) => {
      const w = pen.measureText(point.label).width + 4;
      const h = size + 4;
      const { x, y } = spots[i];
      const choices = [
        [12, -h / 2, "left"], [-12 - w, -h / 2, "right"], [10, -h - 4, "left"], [10, 6, "left"],
        [-10 - w, -h - 4, "right"], [-10 - w, 6, "right"], [10, -h - 18, "left"], [10, 20, "left"],
        [-10 - w, 20, "right"], [-10 - w, -h - 18, "right"],
      ];
      for (const [dx, dy, anchor] of choices) {
        const box = { x0: x + dx, x1: x + dx + w, y0: y + dy, y1: y + dy + h };
        const inside = box.x0 >= -4 && box.x1 <= inner.w + MARGIN.r && box.y0 >= -MARGIN.t && box.y1 <= inner.h;
        const free = taken.every((o) => box.x1 <= o.x0 || box.x0 >= o.x1 || box.y1 <= o.y0 || box.y0 >= o.y1);
        if (!inside || !free) continue;
        taken.push(box);
        placed.push({
          x: point.x,
          y: point.y,
          text: escape(point.label),
          showarrow: false,
          xanchor: anchor,
          yanchor: "middle",
          xshift: anchor === "left" ? dx : dx + w,
          yshift: -(dy + h / 2),
          font: { size, color: colours.ink, family: colours.sans, weight: 600 },
          borderpad: 0,
        });
        break;
      }
    });
    return placed;
  }

  // Plotly reads a small markup in its texts; a name is only ever a name.
  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const percent = (value) => `${value.toFixed(1)} %`;
  function hover(point) {
    const doubt = point.low === null ? "" : `<br>95 % interval ${point.low.toFixed(0)} to ${point.high.toFixed(0)}`;
    // No <b>: Plotly makes it an inline style, which the policy forbids.
    return `${escape(point.label)}<br>${percent(point.y)}, ${escape(point.words)}${doubt}`;
  }

  function traces(chart, c) {
    const points = chart.points;
    const sure = points.map((point) => (point.low === null ? 0 : point.high - point.y));
    return [
      {
        x: chart.frontier.map(([x]) => x),
        y: chart.frontier.map(([, y]) => y),
        mode: "lines",
        line: { color: c.accent, width: 1.5, dash: "4px,3px" },
        hoverinfo: "skip",
      },
      {
        x: points.map((point) => point.x),
        y: points.map((point) => point.y),
        mode: "markers",
        marker: {
          size: 12,
          color: points.map((_, i) => (i === 0 ? c.accent : c["ink-2"])),
          line: { width: 2, color: c.surface },
          opacity: 1,
        },
        error_y: {
          type: "data",
          symmetric: false,
          array: sure,
          arrayminus: points.map((point) => (point.low === null ? 0 : point.y - point.low)),
          thickness: 1.5,
          width: 0,
          color: c["ink-2"],
        },
        text: points.map(hover),
        hovertemplate: "%{text}<extra></extra>",
        cliponaxis: false,
      },
    ];
  }

  function layout(chart, width, height, c) {
    const phone = matchMedia(PHONE).matches;
    const size = phone ? 11 : 12;
    const { top, values, words } = ticks(chart.axis, Math.max(0, ...chart.points.map((point) => point.x)));
    const font = { family: c.sans, size, color: c["ink-3"] };
    return {
      width,
      height,
      margin: MARGIN,
      showlegend: false,
      dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font,
      hovermode: "closest",
      hoverlabel: { bgcolor: c.surface, bordercolor: c["line-2"], align: "left", font: { ...font, color: c.ink, size: 12 } },
      xaxis: {
        range: [-BEFORE * top, top], tickvals: values, ticktext: words, showgrid: false, zeroline: false, showline: false,
        fixedrange: true, ticks: "", tickangle: 0, title: { text: chart.title, font, standoff: 8 }, tickfont: font,
      },
      yaxis: {
        range: [-3, 105], tickvals: [0, 25, 50, 75, 100], ticktext: ["0", "25", "50", "75", "100 %"], gridcolor: c.line,
        zerolinecolor: c["line-2"], showline: false, fixedrange: true, ticks: "", tickfont: font,
      },
      annotations: labels(chart, width, height, top, c, size),
    };
  }

  async function draw() {
    const figure = document.getElementById("chart");
    const plot = document.getElementById("plot");
    if (!figure || !plot) return;
    const chart = JSON.parse(figure.dataset.chart);
    document.getElementById("chart-caption").textContent = chart.caption;
    plot.hidden = !chart.points.length;
    if (!chart.points.length) return;
    try {
      const Plotly = await plotly(figure.dataset.plotly);
      const width = plot.clientWidth;
      if (!width) return;
      const c = tokens(["ink", "ink-2", "ink-3", "line", "line-2", "surface", "accent"]);
      const height = matchMedia(PHONE).matches ? HEIGHT.phone : HEIGHT.wide;
      await Plotly.react(plot, traces(chart, c), layout(chart, width, height, c), {
        displaylogo: false,
        modeBarButtons: [["toImage"]],
        toImageButtonOptions: { format: "svg", filename: document.title },
      });
      plot.dataset.drawn = String(Number(plot.dataset.drawn ?? 0) + 1);
    } catch (error) {
      document.getElementById("chart-caption").textContent = `${error.message} The table above has the same numbers.`;
    }
  }

  let wanted = 0;
  function soon() {
    cancelAnimationFrame(wanted);
    wanted = requestAnimationFrame(draw);
  }

  function follow() {
    const plot = document.getElementById("plot");
    if (!plot) return;
    let width = plot.clientWidth;
    new ResizeObserver(() => {
      if (plot.clientWidth !== width) {
        width = plot.clientWidth;
        soon();
      }
    }).observe(plot);
  }

  // ── long lists of tasks to pick from ───────────────────────────────────────────────────────────────
  function filterList(input) {
    const list = document.querySelector(input.dataset.filters);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of list.children) {
      item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
      shown += !item.hidden;
    }
    const count = document.querySelector(`[data-filter-count="${input.dataset.filters}"]`);
    if (count) count.textContent = words.length ? `${shown} of ${list.children.length} shown; ticked ones stay ticked` : "";
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll("[data-filter-box]")) box.hidden = false;
    document.addEventListener("input", (event) => {
      if (event.target.dataset?.filters) filterList(event.target);
    });
    if (!document.getElementById("board")) return;
    draw();
    follow();
    dark.addEventListener("change", soon);
    still.addEventListener("change", soon);
    new MutationObserver(soon).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    document.addEventListener("change", (event) => event.target.name === "theme" && soon());
    document.body.addEventListener("htmx:afterSettle", (event) => {
      if (event.target.id !== "board" && !event.target.querySelector?.("#chart")) return;
      soon();
      if (!document.getElementById("plot")?.dataset.followed) follow();
    });
  });
})();
