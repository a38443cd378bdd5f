// Charts of a table's columns: the table stays, for whoever would rather read it.
"use strict";

const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumSignificantDigits: 3 });
const NAMES = { charge: "Spent", input: "In", output: "Out" };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(figure) {
  const rows = [...document.querySelectorAll(`#${figure.dataset.chart} tbody tr`)];
  const names = figure.dataset.series.split(",");
  const format = figure.dataset.unit === "usd" ? (value) => dollars.format(value) : (value) => compact.format(value);
  const days = rows.map((row) => Date.parse(row.dataset.day) / 1000);
  const values = names.map((name) => rows.map((row) => Number(row.dataset[name])));
  // Series lie on top of each other: the first one drawn is the sum of all.
  const sums = values.map((_, place) => rows.map((_, row) => values.slice(place).reduce((sum, each) => sum + each[row], 0)));
  const bars = uPlot.paths.bars({ size: [0.75, 40], radius: 0.08 });
  const colours = ["--accent", "--second"];
  const ink = colour("--ink-2"), line = colour("--line");
  const axis = { stroke: ink, grid: { show: false }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const series = names.map((name, place) => ({
    label: NAMES[name],
    fill: colour(colours[place]),
    stroke: colour(colours[place]),
    width: 0,
    paths: bars,
    points: { show: false },
    value: (plot, _, __, index) => (index === null ? "–" : format(values[place][index])),
  }));
  const options = {
    width: figure.clientWidth,
    height: 190,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    scales: { x: { range: (_, low, high) => [low - 43200, high + 43200] }, y: { range: (_, __, high) => [0, (high || 1) * 1.05] } },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    axes: [
      { ...axis, space: 70, size: 32, gap: 9, values: (_, ticks) => ticks.map((tick) => dayFormat.format(tick * 1000)), incrs: [86400, 172800, 604800, 1209600, 2592000] },
      { ...axis, size: 56, space: 36, grid: { show: true, stroke: line, width: 1 }, values: (_, ticks) => ticks.map(format) },
    ],
    // Until somebody points at a day the legend tells of the last one.
    hooks: { ready: [(plot) => { plot.setLegend({ idx: days.length - 1 }); }] },
    legend: { live: true, markers: { width: 0, fill: (_, place) => colour(colours[place - 1]) } },
    series: [{ label: "Day", value: (_, at) => (at === null ? "–" : dayFormat.format(at * 1000)) }, ...series],
  };
  figure.querySelector(".uplot")?.remove();
  new uPlot(options, [days, ...sums], figure);
}

const charts = document.querySelector(".charts");
if (charts && window.uPlot) {
  charts.hidden = false;
  document.querySelector("details.day-table").open = false;
  const all = () => { for (const figure of charts.querySelectorAll("[data-chart]")) draw(figure); };
  all();
  let width = charts.clientWidth;
  new ResizeObserver(() => { if (charts.clientWidth !== width) { width = charts.clientWidth; all(); } }).observe(charts);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
}
