"use strict";
// The page's state is in the address: #a=gelu&a=silu;beta=2&x=-5,5&tab=curves&q=architecture:mlp
const data = JSON.parse(document.getElementById("data").textContent);
const names = Object.keys(data.activations);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f"];
const TITLES = ["value", "first derivative", "second derivative"];
const TABS = { curves: "curves", facts: "facts", frameworks: "in the frameworks", accuracy: "accuracy", survives: "survives", cost: "cost", advisor: "advisor" };
const POINTS = 801;
const number = (v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : Number(v));
const compiled = {};
const state = { chosen: [], low: -5, high: 5, tab: "curves", answers: [] };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
function table(columns, rows, numeric = () => false) {
  const head = element("tr", {}, ...columns.map((c, i) => element("th", { class: numeric(i) ? "number" : null }, c)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, i) => {
    const made = cell instanceof Node ? cell : document.createTextNode(cell ?? "");
    return element("td", { class: (numeric(i) ? "number" : "") + (cell === "NaN" ? " bad" : "") || null }, made);
  })));
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}
function functionsOf(name) {
  // The formulas of the library, written as JavaScript when the page was made.
  compiled[name] ??= data.activations[name].functions.map((source) => (0, eval)(source));
  return compiled[name];
}
const defaults = (name) => Object.fromEntries(data.activations[name].parameters.map((p) => [p.name, p.value]));

// The address

function write() {
  const parts = state.chosen.map(({ name, parameters }) => {
    const start = defaults(name);
    const changed = Object.entries(parameters).filter(([k, v]) => v !== start[k]).map(([k, v]) => `;${k}=${v}`);
    return `a=${name}${changed.join("")}`;
  });
  parts.push(`x=${state.low},${state.high}`, `tab=${state.tab}`);
  if (state.answers.length) parts.push(`q=${state.answers.join(",")}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}
function read() {
  state.chosen = [];
  for (const part of decodeURIComponent(location.hash.slice(1)).split("&")) {
    const [key, ...rest] = part.split("=");
    const value = rest.join("=");
    if (key === "a") {
      const [name, ...given] = value.split(";");
      if (!data.activations[name] || state.chosen.length >= COLOURS.length) continue;
      const parameters = defaults(name);
      for (const one of given) {
        const [parameter, text] = one.split("=");
        if (parameter in parameters && Number.isFinite(Number(text))) parameters[parameter] = Number(text);
      }
      state.chosen.push({ name, parameters });
    } else if (key === "x") {
      const [low, high] = value.split(",").map(Number);
      if (low < high && Number.isFinite(low) && Number.isFinite(high)) Object.assign(state, { low, high });
    } else if (key === "tab" && value in TABS) state.tab = value;
    else if (key === "q") state.answers = value.split(",").filter(Boolean);
  }
  if (!state.chosen.length) state.chosen = ["relu", "gelu", "silu"].map((name) => ({ name, parameters: defaults(name) }));
}

// Curves

const sources = [];
const figures = [];
function dark() {
  const asked = document.documentElement.dataset.theme;
  return asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function paint(figure) {
  const [back, text, grid] = dark() ? ["#16181b", "#cfd3d7", "#33373c"] : ["#ffffff", "#333333", "#e3e3e3"];
  figure.background_fill_color = back;
  figure.border_fill_color = back;
  figure.outline_line_color = grid;
  if (figure.title) figure.title.text_color = text;
  for (const axis of [...figure.xaxes, ...figure.yaxes]) {
    Object.assign(axis, { axis_line_color: text, major_label_text_color: text, axis_label_text_color: text, major_tick_line_color: text, minor_tick_line_color: null });
  }
  for (const one of [...figure.xgrids, ...figure.ygrids]) one.grid_line_color = grid;
}
function build() {
  for (let order = 0; order < 3; order += 1) {
    const figure = Bokeh.Plotting.figure({
      title: TITLES[order], sizing_mode: "stretch_both", tools: "pan,wheel_zoom,box_zoom,reset,save", toolbar_location: "above",
      x_range: new Bokeh.Range1d({ start: state.low, end: state.high }),
    });
    figures.push(figure);
    sources.push(COLOURS.map((colour, i) => {
      const source = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
      figure.line({ field: "x" }, { field: "y" }, { source, line_color: colour, line_width: i ? 2 : 3 });
      return source;
    }));
    paint(figure);
    Bokeh.Plotting.show(figure, document.getElementById(`panel${order}`));
  }
}
function sampled(f, parameters, low, high) {
  // A jump is a difference that stays when the points come together: the line is broken there.
  const x = Array.from({ length: POINTS }, (_, i) => low + ((high - low) * i) / (POINTS - 1));
  const y = x.map((v) => f(v, ...parameters));
  const finite = y.filter(Number.isFinite);
  const range = Math.max(...finite) - Math.min(...finite) || 1;
  const xs = [x[0]];
  const ys = [y[0]];
  for (let i = 1; i < POINTS; i += 1) {
    if (Math.abs(y[i] - y[i - 1]) > 0.02 * range) {
      let [a, b, fa, fb] = [x[i - 1], x[i], y[i - 1], y[i]];
      for (let k = 0; k < 40; k += 1) {
        const m = (a + b) / 2;
        const fm = f(m, ...parameters);
        if (Math.abs(fm - fa) > Math.abs(fb - fm)) [b, fb] = [m, fm];
        else [a, fa] = [m, fm];
      }
      if (Math.abs(fb - fa) > 0.01 * range) {
        xs.push(a, (a + b) / 2, b);
        ys.push(fa, NaN, fb);
      }
    }
    xs.push(x[i]);
    ys.push(y[i]);
  }
  return { x: xs, y: ys.map((v) => (Number.isFinite(v) ? v : NaN)) };
}
function draw() {
  const without = [];
  COLOURS.forEach((_, i) => {
    const one = state.chosen[i];
    const functions = one ? functionsOf(one.name) : [];
    if (one && !functions.length) without.push(one.name);
    for (let order = 0; order < 3; order += 1) {
      sources[order][i].data = functions.length
        ? sampled(functions[order], data.activations[one.name].parameters.map((p) => one.parameters[p.name]), state.low, state.high)
        : { x: [], y: [] };
    }
  });
  for (const figure of figures) Object.assign(figure.x_range, { start: state.low, end: state.high });
  document.getElementById("unplotted").textContent = without.length
    ? `${without.join(", ")}: not a function of one number, so there is no curve.` : "";
}

// What is chosen

function chips() {
  const place = document.getElementById("chosen");
  place.replaceChildren(...state.chosen.map((one, i) => {
    const away = element("button", { class: "away", "aria-label": `remove ${one.name}`, onclick: () => { state.chosen.splice(i, 1); changed(); } }, "×");
    const sliders = data.activations[one.name].parameters.map((p) => {
      const attributes = { min: p.low, max: p.high, step: p.step, title: p.about };
      const range = element("input", { type: "range", "aria-label": `${one.name} ${p.name}`, ...attributes });
      const exact = element("input", { type: "number", step: "any", "aria-label": `${one.name} ${p.name}, exact` });
      range.value = exact.value = one.parameters[p.name];
      const set = (value) => {
        if (!Number.isFinite(value)) return;
        one.parameters[p.name] = value;
        range.value = exact.value = value;
        draw();
        write();
      };
      range.addEventListener("input", () => set(Number(range.value)));
      exact.addEventListener("change", () => set(Number(exact.value)));
      return element("label", {}, p.name, range, exact);
    });
    return element("div", { class: "chip", style: `border-left-color:${COLOURS[i]}` }, away, element("b", {}, one.name), element("span", { class: "soft" }, data.activations[one.name].family), ...sliders);
  }));
}
function add(name) {
  if (!data.activations[name]) {
    name = names.find((n) => data.activations[n].aliases.includes(name));
    if (!name) return;
  }
  if (state.chosen.length >= COLOURS.length) state.chosen.shift();
  state.chosen.push({ name, parameters: defaults(name) });
  changed();
}

// The other tabs

function facts() {
  return state.chosen.flatMap(({ name }) => {
    const a = data.activations[name];
    const formula = element("div", {});
    formula.innerHTML = a.formula;
    return [
      element("h2", {}, name), formula, element("p", {}, a.notes),
      table(["", ""], a.facts), element("p", { class: "soft" }, a.reference),
    ];
  });
}
function frameworks() {
  return state.chosen.flatMap(({ name }) => [
    element("h2", {}, name),
    table(["framework", "its own", "different there"], data.activations[name].translations.map(([f, s, n]) => [f, element("code", {}, s), n])),
  ]);
}
function accuracy() {
  const environment = data.measured.environment;
  const said = element("p", { class: "soft" }, `The worst error E = |y − f(x)| / (ulp(y) + |f′(x)| ulp(x)) over all modes and points; the budget is 4, 4 and 8 for value, first and second derivative. NaN: NaN or infinite where the truth is a number, or the reverse. Measured ${environment.date ?? ""}, ${environment.processor ?? ""}.`);
  const shown = (v) => (v === null ? "·" : v === "NaN" ? "NaN" : number(v).toPrecision(3));
  return [said, ...state.chosen.flatMap(({ name }) => [
    element("h2", {}, name),
    table(["backend", "implementation", "dtype", "value", "first", "second"],
      data.activations[name].errors.map(([b, t, d, ...e]) => [b, t ? element("code", {}, t) : "multiact", d, ...e.map(shown)]), (i) => i > 2),
  ])];
}
function survives() {
  const said = element("p", { class: "soft" }, "In how many ways of each kind it keeps its budget: transformed, compiled, exported, sharded, saved. Others have a known cause, named in docs/capabilities.md.");
  const cell = (found) => {
    if (!found) return "";
    const [count, others] = found;
    const failing = others.some(([, verdict]) => verdict === "fail");
    const text = `${failing ? "✗" : others.length ? "◐" : "✓"} ${count - others.length}${others.length ? ` of ${count}` : ""}`;
    return element("span", { title: others.map(([title, verdict]) => `${title}: ${verdict}`).join("\n") }, text);
  };
  return [said, ...state.chosen.flatMap(({ name }) => {
    const groups = data.activations[name].survived;
    const backends = [...new Set(groups.flatMap(([, found]) => Object.keys(found)))];
    const others = groups.flatMap(([, found]) => Object.entries(found).flatMap(([b, [, rest]]) => rest.map(([title, verdict]) => `${b}: ${title}: ${verdict}`)));
    return [
      element("h2", {}, name),
      backends.length ? table(["", ...backends], groups.map(([group, found]) => [group, ...backends.map((b) => cell(found[b]))])) : element("p", { class: "soft" }, "nothing was published of it"),
      ...others.map((text) => element("div", { class: "soft" }, text)),
    ];
  })];
}
function cost() {
  if (!data.benchmark) return [element("p", {}, "No benchmark was there when this page was made: multiact explore --bench FILE.")];
  const { environment, rows } = data.benchmark;
  const found = [element("p", { class: "soft" }, `${environment.cpu ?? ""} ${environment.model ?? ""}, ${environment.date ?? ""}. Blue: multiact, orange: the framework's own, grey: a copy of the data.`)];
  for (const { name } of state.chosen) {
    const own = rows.filter((r) => r[0] === name);
    found.push(element("h2", {}, name));
    if (!own.length) found.push(element("p", { class: "soft" }, "not in this benchmark"));
    for (const [, backend, mode, dtype, size, direction, ...seconds] of own) {
      found.push(element("div", { class: "soft" }, `${backend} ${mode}, ${dtype}, ${size.toLocaleString("en")} elements, ${direction.replace("_", " and ")}`));
      const most = Math.max(...seconds.filter((s) => s !== null));
      seconds.forEach((s, i) => {
        if (s === null) return;
        const bar = element("span", { class: `bar ${["", "own", "copy"][i]}`, style: `width:${(60 * s) / most}%` });
        found.push(element("div", {}, bar, ` ${(1e3 * s).toPrecision(3)} ms`));
      });
    }
  }
  return found;
}
function advise() {
  const { tree, rules, outputs, avoid } = data.advisor;
  const found = [];
  const given = {};
  let node = tree.nodes[tree.root];
  let depth = 0;
  while (node.question && depth < state.answers.length) {
    const answer = node.answers.find((a) => `${node.question}:${a.answer}` === state.answers[depth]);
    if (!answer) break;
    const back = depth;
    given[node.question] = answer.answer;
    found.push(element("p", {}, element("button", { onclick: () => { state.answers = state.answers.slice(0, back); changed(); } }, "change"), ` ${node.text} `, element("b", {}, answer.text)));
    node = tree.nodes[answer.next];
    depth += 1;
  }
  state.answers = state.answers.slice(0, depth);
  if (node.question) {
    found.push(element("h2", {}, node.text), element("div", { class: "answers" }, ...node.answers.map((a) =>
      element("button", { onclick: () => { state.answers.push(`${node.question}:${a.answer}`); changed(); } }, a.text || a.answer))));
    return found;
  }
  const rule = rules[node.rule];
  const settings = Object.entries(rule.parameters).map(([k, v]) => `${k}=${v}`).join(", ");
  const fits = (when) => Object.entries(when).every(([q, answers]) => answers.includes(given[q] ?? "none"));
  const warned = avoid.filter((a) => fits(a.when));
  found.push(element("div", { class: "leaf", id: "leaf" },
    element("h2", {}, `${rule.recommend}${settings ? `(${settings})` : ""}`),
    element("p", {}, rule.because), element("p", { class: "soft" }, rule.source),
    element("p", {}, `Initialisation: ${rule.initialisation}`),
    element("p", {}, outputs[node.task] ? `Output: ${outputs[node.task]}` : ""),
    ...(rule.also.length ? [element("p", {}, `Also: ${rule.also.join(", ")}`)] : []),
    ...rule.remedies.map((r) => element("p", {}, r)),
    ...warned.map((a) => element("p", {}, `Avoid ${a.text} `, element("span", { class: "soft" }, a.source))),
    element("button", { onclick: () => { state.tab = "curves"; add(rule.recommend); } }, "show its curve"),
    element("button", { onclick: () => { state.answers = []; changed(); } }, "start again")));
  return found;
}

const FILLED = { facts, frameworks, accuracy, survives, cost, advisor: advise };
function show() {
  for (const tab of Object.keys(TABS)) {
    document.getElementById(tab).hidden = tab !== state.tab;
    document.getElementById(`tab-${tab}`).setAttribute("aria-selected", tab === state.tab);
  }
  if (FILLED[state.tab]) document.getElementById(state.tab).replaceChildren(...FILLED[state.tab]());
}
function changed() {
  chips();
  draw();
  show();
  write();
}

// Start

read();
document.getElementById("names").append(...names.flatMap((n) => [n, ...data.activations[n].aliases].map((value) => element("option", { value }, value === n ? "" : n))));
document.getElementById("all").append(...names.map((n) => element("li", {}, element("button", { onclick: () => add(n) }, n))));
document.getElementById("tabs").append(...Object.entries(TABS).map(([tab, title]) =>
  element("button", { id: `tab-${tab}`, role: "tab", "aria-controls": tab, onclick: () => { state.tab = tab; show(); write(); } }, title)));
const search = document.getElementById("search");
search.addEventListener("change", () => { add(search.value.trim()); search.value = ""; });
for (const end of ["low", "high"]) {
  const input = document.getElementById(end);
  input.value = state[end];
  input.addEventListener("change", () => {
    const next = { low: state.low, high: state.high, [end]: Number(input.value) };
    if (next.low < next.high) Object.assign(state, next);
    input.value = state[end];
    draw();
    write();
  });
}
document.getElementById("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  figures.forEach(paint);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(paint));
document.getElementById("link").addEventListener("click", () => { write(); navigator.clipboard?.writeText(location.href); });
document.addEventListener("keydown", (event) => {
  if (["INPUT", "SELECT"].includes(document.activeElement.tagName)) {
    if (event.key === "Escape") document.activeElement.blur();
    return;
  }
  const tabs = Object.keys(TABS);
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const step = event.key === "ArrowRight" ? 1 : tabs.length - 1;
    state.tab = tabs[(tabs.indexOf(state.tab) + step) % tabs.length];
    show();
    write();
    document.getElementById(`tab-${state.tab}`).focus();
  }
});
addEventListener("hashchange", () => { read(); changed(); });
build();
changed();
