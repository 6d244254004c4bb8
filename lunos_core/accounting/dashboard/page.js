"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const dash = "\u2013";
  let facts = JSON.parse($("facts").textContent);
  let plots = [];

  const number = (value, digits = 0) =>
    value == null ? dash : value.toLocaleString("en", { maximumFractionDigits: digits });
  const short = (value) =>
    value == null ? dash : value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 });
  const usd = (value) => {
    if (value == null) return dash;
    if (value === 0) return "$0";
    const digits = value < 0.01 ? Math.min(12, 1 - Math.floor(Math.log10(value))) : 2;
    return "$" + value.toLocaleString("en", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits });
  };
  const seconds = (value) =>
    value == null ? dash : value < 1 ? `${number(value * 1000)} ms` : `${number(value, value < 10 ? 2 : 1)} s`;
  const percent = (part, whole) => (whole ? `${number((100 * part) / whole, 1)} %` : dash);
  const time = (unix) => new Date(unix * 1000).toISOString().slice(0, 19).replace("T", " ");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // text is set as text alone: names come from whoever calls
  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text != null) made.textContent = text;
    if (name) made.className = name;
    return made;
  }
  function address(changes) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === "" || value == null) query.delete(name);
      else query.set(name, value);
    }
    return `?${query}`;
  }

  function filters() {
    const form = $("filters");
    form.hidden = !facts.live;
    if (!facts.live || form.contains(document.activeElement)) return;
    const times = [["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"], ["all", "all time"]];
    const given = facts.since ?? "all";
    if (!times.some(([value]) => value === String(given))) times.push([String(given), String(given)]);
    fill(form.since, times, String(given));
    for (const name of ["app", "model"]) {
      const items = facts.choices[name].map((item) => [item.value, item.label]);
      if (facts[name] != null && !items.some(([value]) => value === facts[name])) items.push([facts[name], facts[name]]);
      fill(form[name], [["", `all ${name}s`], ...items], facts[name] ?? "");
    }
    form.onchange = (event) => location.assign(address({ [event.target.name]: event.target.value }));
    form.onsubmit = (event) => event.preventDefault();
  }
  function fill(select, items, chosen) {
    select.replaceChildren(...items.map(([value, label]) => {
      const option = element("option", label);
      option.value = value;
      option.selected = value === chosen;
      return option;
    }));
  }

  function totals() {
    const total = facts.total;
    const tokens = total.input_tokens + total.output_tokens;
    const cached = total.cached_tokens ? `${percent(total.cached_tokens, total.input_tokens)} of input cached` : "";
    const rows = [
      ["Cost", usd(total.cost), total.estimated_cost ? `${usd(total.estimated_cost)} estimated` : ""],
      ["Calls", short(total.calls), total.retries ? `${short(total.retries)} retries` : ""],
      ["Errors", percent(total.errors, total.calls), total.errors ? number(total.errors) : ""],
      ["Tokens", short(tokens), cached],
      ["Median answer", seconds(total.p50_seconds), `95 %: ${seconds(total.p95_seconds)}`],
      ["First token", seconds(total.first_token_p50_seconds), "median of streams"],
    ];
    $("totals").replaceChildren(...rows.map(([name, value, more]) => {
      const box = element("div");
      const shown = element("dd", value);
      if (more) shown.append(element("br"), element("small", more));
      box.append(element("dt", name), shown);
      return box;
    }));
  }

  function bar(name, value, part, whole, hint) {
    const row = element("div");
    const label = element("span", name);
    label.title = name;
    const meter = element("progress");
    meter.max = whole || 1;
    meter.value = Math.min(part || 0, meter.max);
    meter.setAttribute("aria-label", name);
    row.append(label, element("span", value), meter);
    if (hint) row.append(element("span", hint, "hint"));
    return row;
  }
  function bars() {
    const sum = facts.models.reduce((all, row) => all + (row.cost ?? 0), 0);
    const calls = facts.models.reduce((all, row) => all + row.calls, 0);
    const shown = facts.models.slice(0, 8);
    $("models").replaceChildren(...shown.map((row) =>
      sum ? bar(row.model, `${usd(row.cost)} \u00b7 ${percent(row.cost ?? 0, sum)}`, row.cost, sum)
        : bar(row.model, `${short(row.calls)} calls`, row.calls, calls)));
    if (facts.models.length > shown.length) $("models").append(element("span", `${facts.models.length - shown.length} more`, "hint"));
    $("budgets").hidden = !facts.budgets.length;
    $("budgets").querySelector(".bars").replaceChildren(...facts.budgets.map((row) => {
      const end = row.end == null ? "" : `until ${time(row.end).slice(0, 16)} UTC`;
      const value = `${usd(row.spent)} of ${usd(row.limit)}${row.per ? ` a ${row.per}` : ""}`;
      const made = bar(row.of, value, row.spent, row.limit, end);
      const part = row.limit ? row.spent / row.limit : 1;
      made.classList.add(part >= 1 ? "over" : part >= 0.8 ? "near" : "fine");
      return made;
    }));
  }

  function table(id, heads, rows) {
    const head = element("tr");
    for (const [name, kind] of heads) head.append(element("th", name, kind));
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    for (const cells of rows) {
      const line = element("tr");
      cells.forEach((given, i) => {
        const cell = typeof given === "string" ? { text: given } : given;
        const made = element("td", cell.link ? null : cell.text, heads[i][1]);
        if (cell.link) {
          const anchor = element("a", cell.text);
          anchor.href = cell.link;
          made.append(anchor);
        }
        if (cell.bad) made.classList.add("bad");
        if (heads[i][1]) made.title = cell.text;
        line.append(made);
      });
      body.append(line);
    }
    $(id).replaceChildren(top, body);
  }
  function tables() {
    table("apps", [["App", "text"], ["Cost"], ["Calls"], ["Errors"], ["Retries"], ["Input"], ["Output"], ["p50"], ["p95"], ["First token"]],
      facts.apps.map((row) => [
        facts.live ? { text: row.app, link: address({ app: row.value }) } : row.app,
        usd(row.cost), number(row.calls), { text: percent(row.errors, row.calls), bad: row.errors > 0 },
        number(row.retries), short(row.input_tokens), short(row.output_tokens),
        seconds(row.p50_seconds), seconds(row.p95_seconds), seconds(row.first_token_p50_seconds),
      ]));
    $("more-apps").textContent = facts.more_apps ? `${number(facts.more_apps)} more apps` : "";
    table("recent", [["Time, UTC", "text"], ["App", "text"], ["Model", "text"], ["Endpoint", "text"], ["Status", "text"], ["Tokens"], ["Cost"], ["Time"], ["First token"]],
      facts.recent.map((row) => [
        time(row.at), row.user ? `${row.app} \u00b7 ${row.user}` : row.app, row.model, row.endpoint,
        { text: row.http_status ? `${row.status} ${row.http_status}` : row.status, bad: row.status !== "ok" },
        `${short(row.input_tokens)} + ${short(row.output_tokens)}`,
        row.cost_source === "estimate" ? `~${usd(row.cost)}` : usd(row.cost),
        seconds(row.seconds), seconds(row.first_token_seconds),
      ]));
  }

  function dates(ticks) {
    const zoned = (unix) => uPlot.tzDate(new Date(unix * 1e3), "Etc/UTC");
    const day = uPlot.fmtDate("{MMM} {D}"), hour = uPlot.fmtDate("{HH}:{mm}");
    return ticks.map((unix) => (unix % 86400 ? hour(zoned(unix)) : day(zoned(unix))));
  }
  function plot(id, lines, format, { stacked = false, bars = false } = {}) {
    const step = facts.unit === "day" ? 86400 : 3600;
    const ink = colour("soft"), grid = colour("line");
    let columns = lines.map((line) => line.values);
    if (stacked) {
      let below = facts.times.map(() => 0);
      columns = columns.map((column) => (below = column.map((value, i) => (value ?? 0) + below[i])));
    }
    // the tallest first, so that the others are drawn over it
    const order = lines.map((_, i) => i);
    if (stacked) order.reverse();
    const series = order.map((i) => ({
      label: lines[i].label,
      stroke: colour(lines[i].colour),
      fill: bars ? colour(lines[i].colour) : undefined,
      width: bars ? 0 : 2,
      points: { show: !bars && facts.times.length < 40, size: 5 },
      spanGaps: true,
      paths: bars ? uPlot.paths.bars({ size: [0.72, 48], radius: 0.08 }) : undefined,
      value: (_, __, ___, at) => (at == null ? "" : format(lines[i].values[at])),
    }));
    const form = facts.unit === "day" ? "{YYYY}-{MM}-{DD}" : "{YYYY}-{MM}-{DD} {HH}:00";
    const box = $(id);
    const options = {
      width: box.clientWidth, height: 240,
      tzDate: (unix) => uPlot.tzDate(new Date(unix * 1e3), "Etc/UTC"),
      padding: [10, 12, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { show: !bars } },
      legend: { markers: { fill: (u, i) => (i ? u.series[i]._stroke ?? u.series[i].stroke() : null) } },
      scales: {
        x: { time: true, range: (_, low, high) => [low - step * 0.6, high + step * 0.6] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: { stroke: grid, width: 1 }, values: (_, ticks) => dates(ticks) },
        { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 62, values: (_, ticks) => ticks.map(format) },
      ],
      series: [{ label: "UTC", value: (_, unix) => (unix == null ? "" : uPlot.fmtDate(form)(uPlot.tzDate(new Date(unix * 1e3), "Etc/UTC"))) }, ...series],
    };
    box.replaceChildren();
    const made = new uPlot(options, [facts.times, ...order.map((i) => columns[i])], box);
    // the legend in the order of the lines, whatever is drawn first
    made.root.querySelectorAll(".u-series").forEach((row, i) => { row.style.order = i ? order[i - 1] : 99; });
    plots.push(made);
  }
  function charts() {
    for (const old of plots) old.destroy();
    plots = [];
    $("spend-title").textContent = `Cost per app and ${facts.unit}, USD`;
    const times = facts.by_time;
    plot("spend", facts.spend.map((line, i) => ({ label: line.app, values: line.cost, colour: `c${i}` })), usd, { stacked: true, bars: true });
    plot("tokens", [
      { label: "input", values: times.input_tokens, colour: "c0" },
      { label: "output", values: times.output_tokens, colour: "c1" },
    ], short, { stacked: true, bars: true });
    plot("calls", [
      { label: "calls", values: times.calls, colour: "c8" },
      { label: "retries", values: times.retries, colour: "c1" },
      { label: "errors", values: times.errors, colour: "bad" },
    ], short, { bars: true });
    plot("latency", [
      { label: "95 %", values: times.p95_seconds, colour: "c6" },
      { label: "median", values: times.p50_seconds, colour: "c0" },
      { label: "first token, median", values: times.first_token_p50_seconds, colour: "c2" },
    ], seconds);
  }

  function render() {
    filters();
    const some = facts.total != null;
    $("empty").hidden = some;
    $("content").hidden = !some;
    $("note").textContent = `${facts.live ? "as of" : "made at"} ${time(facts.now)} UTC`;
    if (!some) return;
    totals();
    bars();
    tables();
    charts();
  }
  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch(`data${location.search}`, { signal: AbortSignal.timeout(30000) });
      if (!answer.ok) throw new Error(answer.statusText);
      facts = await answer.json();
      render();
    } catch {
      $("note").textContent = `no answer since ${time(facts.now)} UTC`;
    }
  }

  render();
  document.documentElement.dataset.ready = "yes";
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const made of plots) made.setSize({ width: made.root.parentNode.clientWidth, height: 240 });
  });
  if (facts.live) setInterval(refresh, 10000);
})();
